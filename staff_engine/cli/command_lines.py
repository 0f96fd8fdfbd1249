"""The command line that does the same as a plan, to copy."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from staff_engine.brought_scores import NO_MODEL
from staff_engine.cli.options import PANELS
from staff_engine.evaluation_plan import PILOT_MINUTES, EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.program import COMMAND
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.background import switch

FIRST = ("dataset", "small", "target")

COMPARED_BY = (
    *PANELS["Data"], "chat_template", "device", "dtype", "processes", "shard_target", "attn_implementation",
    *PANELS["Fine-tuning"],
    "tokens_per_batch", "seed",
)  # fmt: skip
"""The settings of a plan that `similarity` takes."""


def run_command(plan: Plan, *, name: str = "") -> str:
    """The command that starts a run of a plan: its changed settings, quoted for a shell."""
    settings = plan.model_dump()
    given = {field: settings[field] for field in FIRST if settings[field] != NO_MODEL}
    given |= _changed(plan, [field for field in settings if field not in FIRST])
    if name:
        given["name"] = name
    return f"{COMMAND} run{options(given)}"


def similarity_command(plan: Plan, compared: SimilarityPlan, *, name: str = "") -> str:
    """The command that starts a similarity run: its changed settings, quoted for a shell."""
    given: dict[str, Any] = {"dataset": plan.dataset, "small": compared.smalls, "target": compared.targets}
    given |= _changed(compared, ["sample", "strata"])
    given |= _changed(plan, [field for field in COMPARED_BY if field != "dataset"])
    if name:
        given["name"] = name
    return f"{COMMAND} similarity{options(given)}"


def evaluate_command(run_id: str, settings: Mapping[str, Any]) -> str:
    """The command that evaluates a run's coresets, or adds to an evaluation; of an `EvaluationPlan`.

    Further runs are named by their ids.
    """
    names = {"methods": "method", "pruning_rates": "pruning_rate"}
    defaults = EvaluationPlan.model_fields
    given = {
        names.get(name, name): value for name, value in settings.items() if value != defaults[name].default
    }
    if "also" in given:
        given["also"] = tuple(f"{label}={Path(folder).name}" for label, folder in given["also"].items())
    return f"{COMMAND} compare {shlex.quote(run_id)} --evaluate{options(given)}"


def pilot_command(run_id: str, *, minutes: float, held_out: str | None) -> str:
    """The command that starts a pilot of a run's coreset."""
    given: dict[str, Any] = {} if minutes == PILOT_MINUTES else {"minutes": f"{minutes:g}"}
    given |= {"held_out": held_out} if held_out else {}
    return f"{COMMAND} compare {shlex.quote(run_id)} --pilot{options(given)}"


def options(settings: Mapping[str, Any]) -> str:
    """Settings as options, one per line; an option with several values is repeated for each.

    A value that starts with - follows an equals sign, or it would be read as an option.
    """
    lines = [
        switch(name, each)
        if isinstance(each, bool)
        else f"--{name.replace('_', '-')}{'=' if str(each).startswith('-') else ' '}{shlex.quote(str(each))}"
        for name, value in settings.items()
        for each in (value if isinstance(value, tuple) else (value,))
    ]
    return "".join(f" \\\n    {line}" for line in lines)


def _changed(plan: Plan | SimilarityPlan, fields: Sequence[str]) -> dict[str, Any]:
    """The settings that differ from their defaults."""
    defaults = type(plan).model_fields
    settings = plan.model_dump(include=set(fields))
    return {field: settings[field] for field in fields if settings[field] != defaults[field].default}
