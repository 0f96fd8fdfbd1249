"""The samples that can be selected: those left after near duplicates and the hardest are left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from staff_engine.selection.cuts.duplicates import surplus_of
from staff_engine.selection.pool import Pool
from staff_engine.selection.strata import (
    DROPPED,
    DUPLICATE,
    Strata,
    check_scores,
    count_dropped,
    stratify,
)


@dataclass(frozen=True, eq=False)
class Cut:
    """What is left of a pool, and what is not.

    Attributes
    ----------
    pool : Pool
        The samples that are left.
    dropped : int
        How many of their highest scores are left out too. `Pool.strata` does that.
    hardest : int64
        Row ids of the hardest samples by another score. They are not in `pool`.
    duplicates : int64 (d, 2)
        Row ids of near duplicates that are left out, and of the samples kept in their place.
    warnings : tuple of str
        A sentence for each kind of sample of which fewer are left out than requested.
    """

    pool: Pool
    dropped: int
    hardest: np.ndarray
    duplicates: np.ndarray
    warnings: tuple[str, ...]

    def labels_of(self, strata: Strata) -> np.ndarray:
        """The labels of the strata, with `DROPPED` and `DUPLICATE` for the samples not in the pool."""
        if not len(self.hardest) and not len(self.duplicates):
            return strata.labels
        labels = strata.labels.copy()
        labels[self.hardest] = DROPPED
        labels[self.duplicates[:, 0]] = DUPLICATE
        labels.flags.writeable = False
        return labels


def cut(
    pool: Pool,
    *,
    keep: int,
    drop_hardest: float,
    drop_scores: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Cut:
    """Leave out near duplicates, then the hardest of the other samples.

    Parameters
    ----------
    pool
        The scores of N samples.
    keep
        Number of samples that must remain, at most the number of finite scores. If too few would
        remain, fewer near duplicates are left out, those of the lowest row ids. Then no hardest
        samples are left out.
    drop_hardest
        Fraction of the samples that are not left out as near duplicates; see `strata.count_dropped`.
    drop_scores : float (N,), optional
        The score that says which samples are the hardest; by default, the scores of the pool. A
        sample whose value is not finite is not left out.
    groups : int (N,), optional
        Groups of near duplicates; see `duplicates.surplus_of`. By default, none are left out.

    Raises
    ------
    PlanError
        If the fraction is out of range.
    ValueError
        If an array does not have N values, or a score is negative.
    """
    none = np.zeros((0, 2), np.int64)
    surplus = none if groups is None else surplus_of(groups, pool.scores)
    duplicates = surplus[: pool.scorable - keep]
    rest = pool.without(duplicates[:, 0])
    dropped = count_dropped(rest.scorable, drop_hardest, keep=keep)
    warnings = (
        *_about_duplicates(len(duplicates), len(surplus), keep),
        *_about_hardest(rest.scorable, dropped, drop_hardest),
    )
    if drop_scores is None:
        return Cut(rest, dropped, none[:, 0], duplicates, warnings)
    scores = check_scores(drop_scores, "drop_scores")
    if len(scores) != len(pool):
        raise ValueError(f"drop_scores has {len(scores)} values; allowed: one for each of {len(pool)} scores")
    hardest = _hardest(np.where(np.isfinite(rest.scores), scores, np.nan), dropped)
    return Cut(rest.without(hardest), 0, hardest, duplicates, warnings)


def _hardest(scores: np.ndarray, count: int) -> np.ndarray:
    """Row ids, ascending, of the `count` highest finite scores, or of all of them; ties as in strata."""
    finite = np.isfinite(scores)
    if count >= np.count_nonzero(finite):
        return np.flatnonzero(finite)
    return np.flatnonzero(stratify(scores, num_strata=1, dropped=count).labels == DROPPED)


def _about_duplicates(left_out: int, found: int, keep: int) -> tuple[str, ...]:
    if left_out == found:
        return ()
    return (
        f"The coreset needs {keep:,} samples: {left_out:,} near duplicates are left out, not all {found:,}.",
    )


def _about_hardest(scorable: int, dropped: int, drop_hardest: float) -> tuple[str, ...]:
    asked = count_dropped(scorable, drop_hardest)
    if dropped == asked:
        return ()
    return (
        f"The coreset needs {scorable - dropped:,} of {scorable:,} samples: the {dropped:,} hardest are"
        f" dropped, not {asked:,} (drop_hardest is {drop_hardest:g}).",
    )
