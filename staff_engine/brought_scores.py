"""Scores that a user brings: their names, and the rules of a plan that has them instead of a small model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import StringConstraints

if TYPE_CHECKING:
    from staff_engine.plan import Plan

OWN = "own:"
"""Beginning of the name of a score that a user brings to a run."""
_OWN_NAME = rf"^{OWN}[A-Za-z0-9_.-]{{1,60}}$"
NO_MODEL = "none"
"""The small model, or the target, of a run with scores of a file."""
OwnScore = Annotated[str, StringConstraints(pattern=_OWN_NAME)]


def is_own_name(name: object) -> bool:
    """Whether it can be the name of a score that a user brings."""
    return isinstance(name, str) and re.fullmatch(_OWN_NAME, name) is not None


def without_models(settings: Any) -> Any:
    """Fill in what a run with scores of a file does not need: a small model and a target."""
    if isinstance(settings, dict) and settings.get("scores"):
        settings = {"small": NO_MODEL, "target": NO_MODEL, **settings}
        if settings["target"] == NO_MODEL:
            settings = {"ratio": "equal", **settings}
    return settings


def check_scores_or_small_model(plan: Plan) -> None:
    """Raise ValueError if a plan has neither or both, or a setting that needs the model it has not."""
    if plan.scores is None:
        if NO_MODEL in (plan.small, plan.target):
            raise ValueError(
                f"small or target is {NO_MODEL!r}, which only a run with a file of scores can be"
            )
        return
    if plan.small != NO_MODEL:
        raise ValueError("give scores or small, not both")
    for name in ("score", "drop_by"):
        value = getattr(plan, name)
        if not value.startswith(OWN) and value != "score":
            raise ValueError(
                f"{name} is {value!r}, which needs a small model; a run with scores has own:NAME"
            )
    for name, allowed in (("ifd", False), ("checkpoints", 0)):
        if getattr(plan, name) != allowed:
            raise ValueError(f"{name} is {getattr(plan, name)!r}, which needs a small model")
    if plan.within == "diverse":
        raise ValueError("within is 'diverse', which needs the embeddings of a small model")
    if plan.target == NO_MODEL and (plan.ratio != "equal" or plan.tune_target):
        raise ValueError(
            f"ratio is {plan.ratio!r} and tune_target {plan.tune_target}, but the run has no target;"
            " allowed: equal and 0"
        )
