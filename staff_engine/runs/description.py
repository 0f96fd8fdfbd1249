"""Everything that is known of a run at one moment, in one typed value."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.runs.kinds import Kind
from staff_engine.runs.status import Status
from staff_engine.runs.summary import Summary
from staff_engine.similarity_plan import SimilarityPlan

MODELS_AND_DATA = ("dataset", "small", "target")


class RunDescription(BaseModel):
    """A run's record, state and figures; frozen. `control.describe` makes it.

    Fields that a damaged run does not provide are None.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    folder: Path
    name: str | None = None
    created: datetime | None = None
    kind: Kind | None = None
    plan: Plan | None = None
    similarity: SimilarityPlan | None = None
    evaluation: EvaluationPlan | None = None
    status: Status
    summary: Summary | None = None
    """None before a run that selects a coreset has all its scores, and for runs of other kinds."""
    timings: dict[str, float] = {}
    """Seconds of each stage that has ended."""
    damage: str | None = None
    """Which of these figures cannot be read, and what to do; None if all can."""

    def as_json(self) -> dict[str, Any]:
        """The description as a flat JSON-compatible dict: the output of `status --json` and `list --json`."""
        facts = self.model_dump(mode="json", exclude={"kind", "status", "summary", "timings", "damage"})
        first = {name: facts[name] for name in ("run_id", "name", "folder", "created")}
        models = {name: getattr(self.plan, name, None) for name in MODELS_AND_DATA}
        return {
            **first,
            **models,
            **{name: facts[name] for name in ("plan", "similarity", "evaluation")},
            **self.status.model_dump(mode="json"),
            "summary": None if self.summary is None else self.summary.as_json(),
            "timings": self.timings,
            "damage": self.damage,
        }
