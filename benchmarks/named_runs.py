"""Runs that a benchmark finds by name, so that it can resume a run that was stopped."""

from __future__ import annotations

from typing import Any

from staff_engine.cli.watch import watch
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.results import open_results
from staff_engine.runs.score_tables import settings_of
from staff_engine.runs.status import ACTIVE
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.selection.methods import METHODS


def finished(name: str, plan: Plan) -> control.Run:
    """Return the finished run with this name and plan. Create or resume it if necessary."""
    run = named(name) or control.create_run(plan, name=name)
    known = control.read_record(run).plan
    if known != plan:
        other = [each for each, value in plan if value != getattr(known, each)]
        raise SystemExit(f"run {run.id} was made with other {', '.join(other)}; delete it to measure again")
    carry_out(run)
    return run


def carry_out(run: control.Run) -> None:
    """Start or resume a run and wait until it is finished."""
    status = control.read_status(run)
    if status.state != "finished":
        if status.pid is None or status.state not in ACTIVE:
            control.start(run)
        watch(run, cancels=False)
    state = control.read_status(run)
    if state.state != "finished":
        raise SystemExit(f"run {run.id} is {state.state}: {state.message}")


def verified(run: control.Run, method: str, **settings: Any) -> None:
    """Let the target score the samples that a method draws with these settings."""
    if not METHODS[method].of_run:
        return
    wanted = {**settings_of(method, settings), "own_draw": True}
    if len(to_verify(open_results(run.folder), **wanted)):
        control.start(run, verify=wanted)
        watch(run, cancels=False)


def named(name: str) -> control.Run | None:
    """The run with this name; None if there is none."""
    return next((run for run in control.list_runs() if control.read_record(run).name == name), None)
