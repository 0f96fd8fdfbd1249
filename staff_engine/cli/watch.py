"""Follow a run on the command line until it ends. The command exits with the run's exit code."""

from __future__ import annotations

import typer
from rich.console import Console

from staff_engine.cli import progress
from staff_engine.cli.exporting import say_warnings
from staff_engine.cli.reports import report_of
from staff_engine.errors import RunError
from staff_engine.export.targets import warnings_of
from staff_engine.program import COMMAND
from staff_engine.runs import control
from staff_engine.runs.folders import Run
from staff_engine.runs.kinds import Kind


def leave(run: Run) -> None:
    """Print how to watch a run that continues in the background."""
    typer.echo(f"run {run.id} continues in the background; to watch it: {COMMAND} status {run.id} --follow")


def watch(run: Run, *, cancels: bool = True) -> None:
    """Show a run's progress to its end, then its closing table.

    Parameters
    ----------
    cancels
        Whether Ctrl-C cancels the run; otherwise it only stops watching.

    Raises
    ------
    RunError
        If the run failed because of a wrong input, with its message.
    typer.Exit
        With code 1 if it did not finish for another reason.
    """
    console = Console()
    console.print(f"run {run.id}", highlight=False, soft_wrap=True)
    try:
        state = progress.follow(run, console)
    except KeyboardInterrupt:
        if cancels:
            _cancel_kindly(run)
        raise typer.Exit(1) from None
    if state.state != "finished":
        _print_unfinished(run, state)
    _print_results(run, state, console)


def _print_results(run: Run, state: control.Status, console: Console) -> None:
    """Print the results of a finished run, where they are, and what can be done next."""
    report = report_of(run)
    if report is not None:
        report.print_to(console)
    if control.kind_of(run) is Kind.CORESET:
        _print_selected(run, state, console)


def _print_selected(run: Run, state: control.Status, console: Console) -> None:
    facts = control.describe(run)
    if facts.summary is not None:
        from staff_engine.cli.tables.runs import print_summary

        print_summary(facts.summary, facts.timings, console)
        for warning in facts.summary.warnings:
            typer.echo(f"warning: {warning}", err=True)
    delivery = control.read_record(run).delivery
    if delivery is not None and state.verify is None:
        typer.echo(f"coreset written to {delivery.out}")
        known = facts.summary.warnings if facts.summary else ()
        say_warnings([warning for warning in warnings_of(delivery.out) if warning not in known])
    typer.echo(
        f"to change settings without running a model: {COMMAND} select {run.id} --pruning-rate P --out FILE"
    )


def _print_unfinished(run: Run, state: control.Status) -> None:
    if state.state == "failed" and state.exit_code == 2:
        raise RunError(state.message)
    message = f": {state.message}" if state.message else ""
    typer.echo(f"run {run.id} is {state.state}{message}; its log is {run.log}", err=True)
    if state.state != "damaged":
        typer.echo(f"to continue: {COMMAND} resume {run.id}", err=True)
    raise typer.Exit(1)


def _cancel_kindly(run: Run) -> None:
    typer.echo("\ncancelling; finished work is kept (press Ctrl-C again to stop immediately) …", err=True)
    try:
        try:
            state = control.cancel(run)
        except KeyboardInterrupt:
            state = control.cancel(run, grace=0)
    except RunError:  # it ended in the meantime
        state = control.read_status(run)
    hint = "" if state.state == "finished" else f"; to continue: {COMMAND} resume {run.id}"
    typer.echo(f"run {run.id} is {state.state}{hint}", err=True)
