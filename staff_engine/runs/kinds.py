"""The kinds of run: their purpose, stages and settings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from staff_engine.runs import stages
from staff_engine.runs.stages import Stage


class Kind(StrEnum):
    """The purpose of a run; the value is the name used in files and ids."""

    CORESET = "coreset"
    SIMILARITY = "similarity"
    EVALUATION = "evaluation"


@dataclass(frozen=True)
class KindFacts:
    """Facts about a kind of run.

    Attributes
    ----------
    does
        What a run of this kind does, as the end of a sentence: "run 7 compares models".
    needs
        What its plan.json must contain.
    stages
        The stages that it can have, in order.
    results
        The file with its results; further names are those of older versions.
    """

    does: str
    needs: str
    stages: tuple[Stage, ...]
    results: tuple[str, ...]


KINDS = {
    Kind.CORESET: KindFacts("selects a coreset", "a plan", stages.CORESET, ("summary.json",)),
    Kind.SIMILARITY: KindFacts(
        "compares models", "a plan and the models to compare", stages.SIMILARITY, ("similarity.json",)
    ),
    Kind.EVALUATION: KindFacts(
        "evaluates coresets of another run",
        "a plan, and the run and the methods to evaluate",
        stages.EVALUATION,
        ("evaluation.json", "comparison.json"),
    ),
}
