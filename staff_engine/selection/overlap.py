"""The overlap of two selections of one run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from staff_engine.selection.coreset import Selection
from staff_engine.selection.strata import NO_SCORE


@dataclass(frozen=True, eq=False)
class Overlap:
    """Row ids of two coresets, a and b: in both, or in only one. All arrays are int64, ascending."""

    shared: np.ndarray
    only_a: np.ndarray
    only_b: np.ndarray
    scorable: int
    """Number of samples that both were selected from."""

    @property
    def jaccard(self) -> float:
        """Rows in both divided by rows in either. 0: none shared, 1: the same coreset."""
        return len(self.shared) / (len(self.shared) + len(self.only_a) + len(self.only_b))

    @property
    def jaccard_by_chance(self) -> float:
        """Expected value for two random coresets of these sizes, to first order."""
        first, second = len(self.shared) + len(self.only_a), len(self.shared) + len(self.only_b)
        return jaccard_by_chance(first, second, self.scorable)


def jaccard_by_chance(first: int, second: int, scorable: int) -> float:
    """Expected Jaccard index of two random coresets of these sizes, to first order."""
    shared = first * second / scorable
    return shared / (first + second - shared)


def overlap_of(a: Selection, b: Selection) -> Overlap:
    """Compare two selections from the same scores.

    Raises
    ------
    ValueError
        If the selections are from data with different numbers of rows.
    """
    if len(a.labels) != len(b.labels):
        raise ValueError(
            f"the selections are from {len(a.labels)} and {len(b.labels)} rows; allowed: both of one run"
        )
    return Overlap(
        shared=np.intersect1d(a.indices, b.indices, assume_unique=True),
        only_a=np.setdiff1d(a.indices, b.indices, assume_unique=True),
        only_b=np.setdiff1d(b.indices, a.indices, assume_unique=True),
        scorable=int(np.count_nonzero(a.labels != NO_SCORE)),
    )
