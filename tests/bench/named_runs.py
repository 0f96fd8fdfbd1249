"""Runs that a benchmark knows by name, so that one that was stopped is gone on with."""

from __future__ import annotations

from staff_engine import runs
from staff_engine.plan import Plan
from staff_engine.status import ACTIVE
from staff_engine.watching import watch


def finished(name: str, plan: Plan) -> runs.Run:
    """The run of that name and plan, done; made where there is none."""
    run = named(name) or runs.create_run(plan, name=name)
    known = runs.read_record(run).plan
    if known != plan:
        other = [each for each, value in plan if value != getattr(known, each)]
        raise SystemExit(f"run {run.id} was made with other {', '.join(other)}; delete it to measure anew")
    carry_out(run)
    return run


def carry_out(run: runs.Run) -> None:
    """See a run through to its end, whatever state it is in."""
    status = runs.read_status(run)
    if status.state != "finished":
        if status.pid is None or status.state not in ACTIVE:
            runs.start(run)
        watch(run, cancels=False)
    state = runs.read_status(run)
    if state.state != "finished":
        raise SystemExit(f"run {run.id} is {state.state}: {state.message}")


def named(name: str) -> runs.Run | None:
    """The run of that name; None if there is none."""
    return next((run for run in runs.list_runs() if runs.read_record(run).name == name), None)
