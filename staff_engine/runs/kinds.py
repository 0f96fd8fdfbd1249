"""The kinds of run: what each is for, and what it is asked beside its plan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from staff_engine.runs import stages
from staff_engine.runs.stages import Stage


class Kind(StrEnum):
    """What a run is for, by the name that its files and ids have."""

    CORESET = "coreset"
    SIMILARITY = "similarity"
    EVALUATION = "evaluation"


@dataclass(frozen=True)
class KindFacts:
    """What is known of a kind of run.

    Attributes
    ----------
    does
        What a run of the kind does, as the end of a sentence: "run 7 compares models".
    needs
        What its plan.json has to hold.
    stages
        The stages that it can go through, in order.
    """

    does: str
    needs: str
    stages: tuple[Stage, ...]


KINDS = {
    Kind.CORESET: KindFacts("selects a coreset", "a plan", stages.CORESET),
    Kind.SIMILARITY: KindFacts(
        "compares models", "a plan, and the models to compare beside it", stages.SIMILARITY
    ),
    Kind.EVALUATION: KindFacts(
        "evaluates coresets of another run",
        "a plan, and the run and the methods to evaluate beside it",
        stages.EVALUATION,
    ),
}
