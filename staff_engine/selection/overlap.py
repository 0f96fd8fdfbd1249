"""Two selections of one run: what they share, and what only one of them has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from staff_engine.selection.coreset import Selection


@dataclass(frozen=True, eq=False)
class Overlap:
    """Row ids of two coresets, a and b: in both, and in only one; all arrays int64, ascending."""

    shared: np.ndarray
    only_a: np.ndarray
    only_b: np.ndarray
    scorable: int
    """Samples that both were selected from."""

    @property
    def jaccard(self) -> float:
        """Shared over all rows in either: 0 none, 1 the same coreset."""
        return len(self.shared) / (len(self.shared) + len(self.only_a) + len(self.only_b))

    @property
    def jaccard_by_chance(self) -> float:
        """What two coresets of these sizes, drawn without looking, would have on average (to first order)."""
        first, second = len(self.shared) + len(self.only_a), len(self.shared) + len(self.only_b)
        return jaccard_by_chance(first, second, self.scorable)


def jaccard_by_chance(first: int, second: int, scorable: int) -> float:
    """The overlap, to first order, of two coresets of these sizes drawn without looking, on average."""
    shared = first * second / scorable
    return shared / (first + second - shared)


def overlap_of(a: Selection, b: Selection) -> Overlap:
    """What two selections from the same scores share, and what only one of them has.

    Raises
    ------
    ValueError
        If they come from data of different length.
    """
    if len(a.labels) != len(b.labels):
        raise ValueError(
            f"the selections are of {len(a.labels)} and {len(b.labels)} rows; allowed: one run's"
        )
    return Overlap(
        shared=np.intersect1d(a.indices, b.indices, assume_unique=True),
        only_a=np.setdiff1d(a.indices, b.indices, assume_unique=True),
        only_b=np.setdiff1d(b.indices, a.indices, assume_unique=True),
        scorable=int(np.count_nonzero(a.labels >= -1)),
    )
