"""Scores to strata: regions of the speculative score, from the easiest to the hardest."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from staff_engine.errors import DatasetError, PlanError

MAX_STRATA = 10_000

DROPPED, NO_SCORE = -1, -2
"""Labels of the samples that lie in no stratum."""


@dataclass(frozen=True, eq=False)
class Strata:
    """K score regions, and the region of each of N samples.

    Attributes
    ----------
    labels : int16 (N,)
        Stratum of each sample, 0 (the easiest) to K - 1, or `DROPPED` or `NO_SCORE`.
    edges : float64 (K + 1,)
        Stratum i holds the scores from `edges[i]` up to, but not, `edges[i + 1]`; the
        last stratum holds its upper edge too.
    sizes : int64 (K,)
        Samples in each stratum; 0 is possible.
    """

    labels: np.ndarray
    edges: np.ndarray
    sizes: np.ndarray

    def without(self, mask: np.ndarray) -> Strata:
        """Return the same strata with the samples of a mask, bool (N,), taken out."""
        labels = np.where(mask, np.int16(DROPPED), self.labels)
        return Strata(labels, self.edges, _count(labels, len(self.sizes)))


def check_scores(scores: Sequence[float] | np.ndarray, name: str = "speculative") -> np.ndarray:
    """Return effort scores as float64 (N,), in which what is not finite is no score.

    Raises
    ------
    ValueError
        If they are not one-dimensional, or one is negative.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(f"{name} has shape {scores.shape}; allowed: one dimension")
    negative = np.flatnonzero(scores < 0)
    if len(negative):
        first = negative[0]
        raise ValueError(f"{name}[{first}] is {scores[first]}; allowed: 0 or more, or NaN for no score")
    return scores


def count_scorable(scores: np.ndarray) -> int:
    """Return N, the number of finite scores.

    Raises
    ------
    DatasetError
        If there is none.
    """
    count = int(np.count_nonzero(np.isfinite(scores)))
    if not count:
        raise DatasetError(f"none of the {len(scores):,} samples has a finite speculative score")
    return count


def coreset_size(scorable: int, pruning_rate: float) -> int:
    """Return m = round((1 - p)·N), at least 1, of the pruning rate p and N scorable samples.

    Raises
    ------
    PlanError
        If p is not 0 or more and below 1.
    """
    if not 0 <= pruning_rate < 1:
        raise PlanError(f"pruning_rate is {pruning_rate}; allowed: 0 or more and below 1")
    return max(1, round((1 - pruning_rate) * scorable))


def count_dropped(scorable: int, drop_hardest: float, *, keep: int = 1) -> int:
    """Return how many hardest samples to leave out: ⌊drop_hardest·N⌋, fewer if `keep` needs them.

    Parameters
    ----------
    scorable : int
        N, at least 1.
    drop_hardest : float
        Fraction, 0 or more and below 1.
    keep : int
        Samples, at most N, that have to be left.

    Raises
    ------
    PlanError
        If the fraction is out of range.
    """
    if not 0 <= drop_hardest < 1:
        raise PlanError(f"drop_hardest is {drop_hardest}; allowed: 0 or more and below 1")
    return min(math.floor(drop_hardest * scorable), scorable - keep)


def stratify(scores: np.ndarray, *, num_strata: int = 50, by: str = "width", dropped: int = 0) -> Strata:
    """Cut scores into strata, after the hardest samples are left out.

    Parameters
    ----------
    scores : float64 (N,)
        Effort, 0 or more, higher is harder; at least one is finite.
    num_strata : int
        K, 1 to 10,000. If all scores that are left are equal there is one stratum.
    by : {"width", "log", "quantile"}
        "width": equal width between the least and the greatest score that is left,
        stratum min(K - 1, ⌊(s - low)/(high - low)·K⌋) (the paper's). "log": the same
        with ln s; a score of 0 counts as the least one above 0, so it is in stratum 0.
        "quantile": equal size; equal scores stay together, which makes sizes differ.
    dropped : int
        How many of the greatest scores are left out, less than there are finite ones;
        of equal scores the one with the greater row id goes first.

    Raises
    ------
    PlanError
        If `num_strata` or `by` is not allowed.

    Notes
    -----
    STAFF (Zhang et al., ICLR 2025), Algorithm 1, has equal widths. Logarithm and
    quantiles stand beside them because gradient norms are heavy-tailed: most strata of
    equal width then hold next to nothing.
    """
    num_strata = _check_num_strata(num_strata)
    if by not in STRATA_BY:
        raise PlanError(f"strata_by is {by!r}; allowed: {', '.join(STRATA_BY)}")
    finite = np.isfinite(scores)
    kept = _least(scores[finite], dropped)
    low, high = kept.min(), kept.max()
    if low == high:
        regions, edges = np.zeros(len(scores)), np.array([low, high])
    else:
        # fmin also turns NaN and what is dropped into a number that has a region.
        regions, edges = _REGIONS[by](np.fmin(scores, high), kept, num_strata)
    labels = regions.astype(np.int16)
    _label_hardest(labels, scores, high, len(kept))
    labels[~finite] = NO_SCORE
    return Strata(labels, edges, _count(labels, len(edges) - 1))


def _check_num_strata(num_strata: int) -> int:
    try:
        count = operator.index(num_strata)
    except TypeError:
        count = 0
    if not 1 <= count <= MAX_STRATA:
        raise PlanError(f"num_strata is {num_strata!r}; allowed: whole numbers from 1 to {MAX_STRATA:,}")
    return count


def _least(values: np.ndarray, dropped: int) -> np.ndarray:
    """All values (overwritten) but the `dropped` greatest, in any order."""
    if dropped:
        values.partition(len(values) - dropped)
    return values[: len(values) - dropped]


def _label_hardest(labels: np.ndarray, scores: np.ndarray, high: float, count: int) -> None:
    """Label as dropped what is above `high`, and then of what equals it, until `count` are left."""
    labels[scores > high] = DROPPED
    surplus = np.count_nonzero(scores <= high) - count
    if surplus:
        labels[np.flatnonzero(scores == high)[-surplus:]] = DROPPED


def _count(labels: np.ndarray, num_strata: int) -> np.ndarray:
    return np.bincount(labels - NO_SCORE, minlength=num_strata - NO_SCORE)[-NO_SCORE:]


def _equal_widths(values: np.ndarray, kept: np.ndarray, num_strata: int) -> tuple[np.ndarray, np.ndarray]:
    return _cut(values, kept.min(), kept.max(), num_strata)


def _equal_log_widths(values: np.ndarray, kept: np.ndarray, num_strata: int) -> tuple[np.ndarray, np.ndarray]:
    least, high = kept[kept > 0].min(), kept.max()
    log_low, log_high = np.log(least), np.log(high)
    if log_low == log_high:  # zeros and one other score, or scores that a rounding parts
        return np.zeros(len(values)), np.array([kept.min(), high])
    regions, edges = _cut(np.log(np.maximum(values, least)), log_low, log_high, num_strata)
    edges = np.clip(np.exp(edges), least, high)
    edges[0], edges[-1] = kept.min(), high
    return regions, edges


def _cut(values: np.ndarray, low: float, high: float, num_strata: int) -> tuple[np.ndarray, np.ndarray]:
    """Region of each value (overwritten), a float to be cut off, and the edges of the regions."""
    values -= low
    values /= high - low
    values *= num_strata
    np.minimum(values, num_strata - 1, out=values)
    edges = low + (high - low) * (np.arange(num_strata + 1) / num_strata)
    edges[-1] = high
    return values, edges


def _equal_sizes(values: np.ndarray, kept: np.ndarray, num_strata: int) -> tuple[np.ndarray, np.ndarray]:
    ranks = np.arange(num_strata + 1) * len(kept) // num_strata
    ranks[-1] = len(kept) - 1
    edges = np.sort(kept)[ranks]
    return np.searchsorted(edges[1:-1], values, side="right"), edges


_REGIONS = {"width": _equal_widths, "log": _equal_log_widths, "quantile": _equal_sizes}
STRATA_BY = tuple(_REGIONS)
