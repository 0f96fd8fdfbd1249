"""What a run took, beside what it would take to let the target score everything."""

from __future__ import annotations

from dataclasses import dataclass

from staff_engine.results import Results

STAGES = ("fine-tune", "speculate", "tune target", "verify")
"""The stages that scoring everything on the target would do without."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a run's models, and of the target over all samples (None where it scored none)."""

    staff: float
    full: float | None

    @property
    def saved(self) -> float | None:
        """Share of the target's time that was saved; below 0 if STAFF took longer, None if not known."""
        return 1 - self.staff / self.full if self.full else None


def run_cost(results: Results) -> Cost:
    """The seconds of a finished run: fine-tuning, scoring and verifying, tuning the target if it did.

    The target's time over all samples is its measured seconds for each token, times all
    tokens. The fine-tuning that the target itself would need for such scores is not
    counted, so the saving is a cautious one. Raises RunError while it is not finished.
    """
    seconds = results.timings
    return Cost(
        staff=sum(float(seconds.get(stage, 0)) for stage in STAGES),
        full=results.summary["full_target_seconds_estimate"],
    )
