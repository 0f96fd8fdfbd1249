"""The demo: a run that works offline, on any machine, in about a minute."""

from __future__ import annotations

from staff_engine.errors import RunError
from staff_engine.plan import Plan
from staff_engine.runs import Run, create_run, list_runs, read_record, read_status, start
from staff_engine.status import ACTIVE

DEMO_NAME = "Demo: docstrings"

DEMO_PLAN = Plan.make(
    dataset="builtin:docstrings",
    small="builtin:llama-nano",
    target="builtin:llama-mini",
    limit=600,
    epochs=1,
    strata=20,
    verify_per_stratum=5,
    pruning_rate=0.9,
)
"""600 functions, of which the target verifies at most 100: a sixth."""


def start_demo() -> Run:
    """Start the demo; where one is at work already, return that one. Raises RunError if it cannot start."""
    run = _demo_at_work() or create_run(DEMO_PLAN, name=DEMO_NAME)
    if read_status(run).state not in ACTIVE or read_status(run).pid is None:
        start(run)
    return run


def _demo_at_work() -> Run | None:
    for run in list_runs():
        try:
            if read_status(run).state in ACTIVE and read_record(run).name == DEMO_NAME:
                return run
        except RunError:
            continue
    return None
