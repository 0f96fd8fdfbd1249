"""What a run's process does, by the kind of the run."""

from __future__ import annotations

from staff_engine.evaluation import run as evaluation_run
from staff_engine.export.delivery import deliver
from staff_engine.pipelines import coreset as pipeline
from staff_engine.pipelines.forecast.job import forecast_error
from staff_engine.pipelines.similarity import run as similarity_run
from staff_engine.runs import control, stages
from staff_engine.runs.folders import Run
from staff_engine.runs.progress import Reporter
from staff_engine.runs.results import open_results


def do(run: Run, reporter: Reporter) -> None:
    """Do what a run has still to do: compare models, evaluate coresets, verify or carry out its plan.

    Raises
    ------
    StaffError
        If the data, the plan or a model does not allow it.
    """
    kind = control.kind_of(run)
    if kind in ("similarity", "comparison"):
        (similarity_run if kind == "similarity" else evaluation_run).execute(run.folder, reporter)
        return
    settings = control.read_status(run).verify
    if settings is not None:
        pipeline.verify_missing(run.folder, reporter, settings)
        return
    pipeline.execute(run.folder, reporter)
    forecast_error(run.folder)
    fingerprint = open_results(run.folder).imported.facts.fingerprint
    delivery = control.update_record(run, fingerprint=fingerprint).delivery
    if delivery is not None:
        reporter.stage(stages.EXPORT)
        reporter.advance(deliver(run, delivery))
