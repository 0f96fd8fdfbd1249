"""The cost of a run, compared with scoring everything on the untouched or fine-tuned target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from staff_engine.runs import stages
from staff_engine.runs.results import Results
from staff_engine.runs.summary import Summary


@dataclass(frozen=True)
class Cost:
    """Seconds of a run's models, and of the target over all samples.

    Attributes
    ----------
    staff
        The time of the run: fine-tuning, scoring, verifying, and tuning the target if it did.
    full
        The time for scoring everything on the untouched target; None if it scored nothing.
    training
        The time for fine-tuning the target on everything before that, as methods that score
        on the target do; None if it cannot be estimated.
    """

    staff: float
    full: float | None
    training: float | None = None

    @property
    def saved(self) -> float | None:
        """Share of `full` that was saved; below 0 if STAFF took longer, None if unknown."""
        return 1 - self.staff / self.full if self.full else None

    @property
    def overhead(self) -> float | None:
        """The time of the run as a share of `training` and `full`: the paper's selection overhead."""
        return self.staff / (self.training + self.full) if self.training and self.full else None


def run_cost(summary: Summary, timings: Mapping[str, float]) -> Cost:
    """The time of a finished run, and the estimates to compare it with.

    The target's time over all samples is its measured seconds per token, times all tokens.
    The ratio of fine-tuning time to scoring time is assumed to be that of the small model.
    The target's fine-tuning is not measured at all, so this is the rougher estimate.

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


def small_seconds(results: Results) -> float:
    """Seconds in which a run made the small model's scores: its fine-tuning and the scoring."""
    return sum(results.timings.get(stage.name, 0.0) for stage in stages.SMALL_SCORES)


def selection_seconds(results: Results, **settings: Any) -> float:
    """Seconds of a run's models that a selection with these settings needs.

    The small model's scores, and the verification of the samples that these settings draw. A run can
    have verified more, for other settings. If the target is tuned, that is included.

    Parameters
    ----------
    **settings
        Selection settings, as in `Results.select`.
    """
    needed, verified = results.count_verified(**settings), len(results.verified_ids)
    if not needed or not verified:
        return small_seconds(results)
    tuning = results.timings.get(stages.TUNE_TARGET.name, 0.0)
    verifying = results.timings.get(stages.VERIFY.name, 0.0) * (needed / verified)
    return small_seconds(results) + tuning + verifying
