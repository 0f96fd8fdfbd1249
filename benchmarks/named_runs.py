"""Runs that a benchmark knows by name, so that one that was stopped is gone on with."""

from __future__ import annotations

from staff_engine.cli.watch import watch
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.status import ACTIVE


def finished(name: str, plan: Plan) -> control.Run:
    """The run of that name and plan, done; made where there is none."""
    run = named(name) or control.create_run(plan, name=name)
    known = control.read_record(run).plan
    if known != plan:
        other = [each for each, value in plan if value != getattr(known, each)]
        raise SystemExit(f"run {run.id} was made with other {', '.join(other)}; delete it to measure anew")
    carry_out(run)
    return run


def carry_out(run: control.Run) -> None:
    """See a run through to its end, whatever state it is in."""
    status = control.read_status(run)
    if status.state != "finished":
        if status.pid is None or status.state not in ACTIVE:
            control.start(run)
        watch(run, cancels=False)
    state = control.read_status(run)
    if state.state != "finished":
        raise SystemExit(f"run {run.id} is {state.state}: {state.message}")


def named(name: str) -> control.Run | None:
    """The run of that name; None if there is none."""
    return next((run for run in control.list_runs() if control.read_record(run).name == name), None)
