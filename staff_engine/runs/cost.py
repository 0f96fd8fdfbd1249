"""What a run took, beside what the target would take to score everything, untouched or fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from staff_engine.runs import stages
from staff_engine.runs.summary import Summary


@dataclass(frozen=True)
class Cost:
    """Seconds of a run's models, and of the target over all samples.

    Attributes
    ----------
    staff
        What the run took: fine-tuning, scoring and verifying, tuning the target if it did.
    full
        What the untouched target would take to score everything; None where it scored nothing.
    training
        What it would take before that to fine-tune the target on everything, as methods do
        that score on the target; None where that cannot be told.
    """

    staff: float
    full: float | None
    training: float | None = None

    @property
    def saved(self) -> float | None:
        """Share of `full` that was saved; below 0 if STAFF took longer, None if not known."""
        return 1 - self.staff / self.full if self.full else None

    @property
    def overhead(self) -> float | None:
        """What the run took as a share of `training` and `full`: the paper's selection overhead."""
        return self.staff / (self.training + self.full) if self.training and self.full else None


def run_cost(summary: Summary, timings: Mapping[str, float]) -> Cost:
    """The seconds of a finished run, and the estimates that they are held against.

    The target's time over all samples is its measured seconds for each token, times all
    tokens. Its fine-tuning is taken to be as many times that as the small model's
    fine-tuning was its scoring: nothing of it is measured, so it is the rougher of the two.

    Parameters
    ----------
    summary, timings
        The run's figures, and the seconds of its stages.
    """
    full, scoring = summary.full_target_seconds_estimate, summary.small_scoring_seconds
    return Cost(
        staff=sum(timings.get(stage.name, 0.0) for stage in stages.STAFF),
        full=full,
        training=timings.get(stages.FINE_TUNE.name, 0.0) / scoring * full if scoring and full else None,
    )
