"""What a run's process does, by the kind of the run."""

from __future__ import annotations

from staff_engine import comparison_run, pipeline, runs, similarity_run
from staff_engine.delivery import deliver
from staff_engine.forecast import forecast_error
from staff_engine.reporter import Reporter
from staff_engine.results import open_results
from staff_engine.run_folders import Run


def do(run: Run, reporter: Reporter) -> None:
    """Do what a run has still to do: compare models, evaluate coresets, verify or carry out its plan.

    Raises
    ------
    StaffError
        If the data, the plan or a model does not allow it.
    """
    kind = runs.kind_of(run)
    if kind in ("similarity", "comparison"):
        (similarity_run if kind == "similarity" else comparison_run).execute(run.folder, reporter)
        return
    settings = runs.read_status(run).verify
    if settings is not None:
        pipeline.verify_missing(run.folder, reporter, settings)
        return
    pipeline.execute(run.folder, reporter)
    forecast_error(run.folder)
    fingerprint = open_results(run.folder).imported.facts.fingerprint
    delivery = runs.update_record(run, fingerprint=fingerprint).delivery
    if delivery is not None:
        reporter.stage("export", unit="samples")
        reporter.advance(deliver(run, delivery))
