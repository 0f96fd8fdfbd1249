"""A pilot: the cheapest evaluation that can tell STAFF's coreset from a random one, within a chosen time."""

from __future__ import annotations

from dataclasses import dataclass

from staff_engine.errors import PlanError
from staff_engine.evaluation import planning
from staff_engine.evaluation.estimate import Estimate
from staff_engine.evaluation_plan import PILOT_MINUTES, EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.runs.folders import Run
from staff_engine.runs.results import Results, open_results
from staff_engine.system.words import counted, duration

FEWEST_SEEDS, MOST_SEEDS = 2, 10
"""One seed cannot show chance. More than ten are no pilot."""

HELD_OUT = 500
"""Held-out samples: their losses cost little beside a fine-tuning, and make small differences visible."""


@dataclass(frozen=True)
class Pilot:
    """The plan of a pilot, and the estimate of its time."""

    plan: Plan
    evaluation: EvaluationPlan
    estimate: Estimate

    @property
    def words(self) -> str:
        """What the pilot does, in a sentence."""
        return (
            f"A pilot fine-tunes the target on STAFF's coreset and on random ones of the same size, with"
            f" {counted(self.evaluation.seeds, 'seed')}, and compares their loss on up to"
            f" {self.evaluation.held_out_samples:,} held-out samples. It takes about"
            f" {duration(self.estimate.seconds)}. Its result"
            " says which difference it could have shown, and what to add to show a smaller one."
        )


def plan_pilot(
    source: Run,
    *,
    minutes: float = PILOT_MINUTES,
    held_out: str | None = None,
    results: Results | None = None,
) -> Pilot:
    """Plan a pilot with as many seeds as the time allows: two arms, loss only, not on the full data.

    Parameters
    ----------
    source
        The finished run whose coreset is evaluated.
    minutes
        The most time that it may take, by the estimate.
    held_out
        A file of held-out samples; needed unless the data is built in.
    results
        The results of `source`, if they are already open.

    Raises
    ------
    PlanError
        If no evaluation with two seeds fits into the time, or the run has nothing to estimate it from.
    StaffError
        As `planning.plan_evaluation`.
    """
    plan, whole = planning.plan_evaluation(
        source, methods=("staff", "random"), seeds=MOST_SEEDS, held_out=held_out, held_out_samples=HELD_OUT,
        answers=0, full_seeds=0,
    )  # fmt: skip
    results = results or open_results(source.folder)
    for seeds in range(MOST_SEEDS, FEWEST_SEEDS - 1, -1):
        evaluation = whole.but(seeds=seeds)
        estimate = planning.estimate_of(plan, evaluation, source=results)
        if estimate is None:
            raise PlanError(
                f"run {source.id} has verified no samples, so the time of a pilot is unknown; start an"
                " evaluation with --evaluate instead"
            )
        if estimate.seconds <= 60 * minutes:
            return Pilot(plan, evaluation, estimate)
        shortest = estimate.seconds
    raise PlanError(
        f"a pilot takes about {duration(shortest)} with {FEWEST_SEEDS} seeds; minutes is {minutes:g},"
        f" allowed: at least {shortest / 60:.1f}"
    )
