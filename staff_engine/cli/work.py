"""The work of a run's process, by the kind of the run."""

from __future__ import annotations

from collections.abc import Callable

from staff_engine.errors import RunError
from staff_engine.evaluation import run as evaluation_run
from staff_engine.export.delivery import deliver
from staff_engine.pipelines import coreset as pipeline
from staff_engine.pipelines.forecast.job import forecast_error
from staff_engine.pipelines.similarity import run as similarity_run
from staff_engine.runs import control, stages
from staff_engine.runs.folders import Run
from staff_engine.runs.kinds import Kind
from staff_engine.runs.progress import Reporter
from staff_engine.runs.results import open_results
from staff_engine.runs.worker import help_with, working
from staff_engine.system import calls, team
from staff_engine.system.files import usual_files


def work_on(run: Run, begin: Callable[[], None] = lambda: None) -> None:
    """Work on a run in this process, which can be one of several that torchrun started.

    Parameters
    ----------
    begin
        Called in the first process before the work.

    Raises
    ------
    Cancelled
        If the run was cancelled.
    StaffError
        As `do`, or if another process works on the run.
    """
    if team.launched():
        team.join()
    else:
        team.hide_launcher()
    if team.rank():
        help_with(run)
        return
    try:
        begin()
        with working(run) as reporter:
            do(run, reporter)
    finally:
        calls.leave()


def do(run: Run, reporter: Reporter) -> None:
    """Do the remaining work of a run, by its kind.

    Raises
    ------
    StaffError
        If the data, the plan or a model cannot be used, or the run is damaged.
    """
    kind = control.read_record(run).kind
    if kind not in WORK:
        raise RunError(f"run {run.id} has the unknown kind {str(kind)!r}; allowed: {', '.join(WORK)}")
    WORK[kind](run, reporter)


def _select(run: Run, reporter: Reporter) -> None:
    """Verify the missing samples, or carry out the whole plan and export the requested coreset."""
    settings = control.read_status(run).verify
    if settings is not None:
        pipeline.verify_missing(run.folder, reporter, settings)
        return
    exported = any(
        stage.name == stages.EXPORT.name and stage.done for stage in control.read_status(run).stages
    )
    pipeline.execute(run.folder, reporter)
    forecast_error(run.folder)
    fingerprint = open_results(run.folder).imported.facts.fingerprint
    delivery = control.update_record(run, fingerprint=fingerprint).delivery
    if delivery is not None and not exported:
        reporter.stage(stages.EXPORT)
        with usual_files():  # the file is for others too
            written = deliver(run, delivery)
        reporter.advance(written)


def _compare(run: Run, reporter: Reporter) -> None:
    similarity_run.execute(run.folder, reporter)


def _evaluate(run: Run, reporter: Reporter) -> None:
    evaluation_run.execute(run.folder, reporter)


WORK: dict[Kind, Callable[[Run, Reporter], None]] = {
    Kind.CORESET: _select,
    Kind.SIMILARITY: _compare,
    Kind.EVALUATION: _evaluate,
}
"""The function that does the work of each kind of run; it continues from the last complete file."""
