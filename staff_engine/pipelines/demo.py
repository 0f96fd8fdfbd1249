"""The demo: a run that works offline, on any machine, in about a minute."""

from __future__ import annotations

from staff_engine.data.builtin.tasks import PREFIX, TASKS
from staff_engine.errors import RunError
from staff_engine.models.presets import SIZES, model_pairs
from staff_engine.plan import Plan
from staff_engine.runs.control import Run, create_run, list_runs, read_record, read_status, start
from staff_engine.runs.status import ACTIVE

DEMO_PLAN = Plan.make(
    dataset="builtin:docstrings",
    small="builtin:llama-nano",
    target="builtin:llama-mini",
    limit=600,
    epochs=1,
    strata=20,
    verify_per_stratum=5,
    pruning_rate=0.9,
    ifd=True,
)
"""600 functions, of which the target verifies at most 100: a sixth."""


def demo_families() -> dict[str, str]:
    """The built-in families that have both sizes: display name → part of the models' names."""
    return {
        pair.family.partition(",")[0]: pair.small.removeprefix(PREFIX).rpartition("-")[0]
        for pair in model_pairs()
        if pair.small.startswith(PREFIX)
    }


FAULTS = "?swapped=0.25&duplicates=0.05"
"""Faults made on purpose, see `data.builtin.variants`."""


def demo_plan(task: str, family: str, *, faulty: bool = False) -> Plan:
    """The demo's plan on one of the built-in tasks with the models of one of the built-in families."""
    models = dict(zip(("small", "target"), (f"{PREFIX}{family}-{size}" for size in SIZES), strict=True))
    return DEMO_PLAN.but(dataset=f"{PREFIX}{task}{FAULTS if faulty else ''}", **models)


def is_demo(plan: Plan) -> bool:
    """Whether a plan is that of the demo, on any of its tasks and families."""
    return any(
        plan == demo_plan(task, family, faulty=faulty)
        for task in TASKS
        for family in demo_families().values()
        for faulty in (False, True)
    )


def start_demo(plan: Plan = DEMO_PLAN) -> Run:
    """Start the demo, or return its run if it is already active. Raises RunError if it cannot start."""
    name = f"Demo: {plan.dataset.removeprefix(PREFIX)}"
    run = _active(plan, name) or create_run(plan, name=name)
    if read_status(run).state not in ACTIVE or read_status(run).pid is None:
        start(run)
    return run


def _active(plan: Plan, name: str) -> Run | None:
    for run in list_runs():
        try:
            record = read_record(run)
            if (record.name, record.plan) == (name, plan) and read_status(run).state in ACTIVE:
                return run
        except RunError:
            continue
    return None
