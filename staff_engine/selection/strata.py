"""Scores to strata: regions of the speculative score, from the easiest to the hardest."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from staff_engine.errors import DatasetError, PlanError

MAX_STRATA = 10_000

DROPPED, NO_SCORE = -1, -2
"""Labels of the samples that lie in no stratum."""

BLOCK = 2**15
"""Samples that are worked on at a time: their arrays stay in the processor's cache, which
is several times as fast as going through all of memory for each step."""

_Cut = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]
"""Edges, and what gives values (it may overwrite) their regions, as numbers to be cut off."""


def blocks(count: int) -> Iterator[slice]:
    """The slices, of `BLOCK` places each, that `count` places are worked on in."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


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

    def count(self, row_ids: np.ndarray) -> np.ndarray:
        """How many of some rows, each given once, each stratum holds: int64 (K,)."""
        labels = self.labels[row_ids]
        return np.bincount(labels[labels >= 0], minlength=len(self.sizes))

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


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """The finite ones of some scores, float64 (N,), in ascending order."""
    ranked = np.sort(scores)
    return ranked[: np.searchsorted(ranked, np.inf)]  # NaN is sorted behind it


def stratify(
    scores: np.ndarray,
    *,
    num_strata: int = 50,
    by: str = "width",
    dropped: int = 0,
    ranked: np.ndarray | None = None,
) -> Strata:
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
    ranked : float64, optional
        `rank_scores(scores)`, where it is there already.

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
    num_strata = check_cut(num_strata, by)
    ranked = rank_scores(scores) if ranked is None else ranked
    kept = ranked[: len(ranked) - dropped]
    low, high = kept[0], kept[-1]
    edges, regions = _one_region(low, high) if low == high else _CUTS[by](kept, num_strata)
    labels = _label(scores, high, regions)
    surplus = np.searchsorted(ranked, high, side="right") - len(kept)
    if surplus:
        labels[np.flatnonzero(scores == high)[-surplus:]] = DROPPED
    return Strata(labels, edges, _count(labels, len(edges) - 1))


def check_cut(num_strata: int, by: str) -> int:
    """Return the number of strata as an int. Raises PlanError if it or `by` is not allowed."""
    try:
        count = operator.index(num_strata)
    except TypeError:
        count = 0
    if not 1 <= count <= MAX_STRATA:
        raise PlanError(f"num_strata is {num_strata!r}; allowed: whole numbers from 1 to {MAX_STRATA:,}")
    if by not in STRATA_BY:
        raise PlanError(f"strata_by is {by!r}; allowed: {', '.join(STRATA_BY)}")
    return count


def _label(scores: np.ndarray, high: float, regions: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The regions of the scores up to `high`, and the other labels."""
    labels = np.empty(len(scores), dtype=np.int16)
    for block in blocks(len(scores)):
        some, labelled = scores[block], labels[block]
        # fmin also turns NaN and what is dropped into a number that has a region.
        labelled[:] = regions(np.fmin(some, high))
        # DROPPED has all bits set, so that "or" writes it, several times as fast as a mask would.
        labelled |= DROPPED * (some > high).view(np.int8)
        np.putmask(labelled, ~np.isfinite(some), NO_SCORE)
    return labels


def _count(labels: np.ndarray, num_strata: int) -> np.ndarray:
    counts = np.zeros(num_strata - NO_SCORE, dtype=np.int64)
    for block in blocks(len(labels)):
        counts += np.bincount(labels[block] - NO_SCORE, minlength=len(counts))
    return counts[-NO_SCORE:]


def _one_region(low: float, high: float) -> _Cut:
    return np.array([low, high]), np.zeros_like


def _equal_widths(kept: np.ndarray, num_strata: int) -> _Cut:
    return _cut(kept[0], kept[-1], num_strata)


def _equal_log_widths(kept: np.ndarray, num_strata: int) -> _Cut:
    low, high = kept[0], kept[-1]
    least = kept[np.searchsorted(kept, 0, side="right")]
    log_low, log_high = np.log(least), np.log(high)
    if log_low == log_high:  # zeros and one other score, or scores that a rounding parts
        return _one_region(low, high)
    edges, regions = _cut(log_low, log_high, num_strata)
    edges = np.clip(np.exp(edges), least, high)
    edges[0], edges[-1] = low, high
    return edges, lambda values: regions(np.log(np.maximum(values, least)))


def _cut(low: float, high: float, num_strata: int) -> _Cut:
    def regions(values: np.ndarray) -> np.ndarray:
        values -= low
        values /= high - low
        values *= num_strata
        return np.minimum(values, num_strata - 1, out=values)

    edges = low + (high - low) * (np.arange(num_strata + 1) / num_strata)
    edges[-1] = high
    return edges, regions


def _equal_sizes(kept: np.ndarray, num_strata: int) -> _Cut:
    ranks = np.arange(num_strata + 1) * len(kept) // num_strata
    ranks[-1] = len(kept) - 1
    edges = kept[ranks]
    return edges, _between(edges[1:-1])


def _between(inner: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """How many of the inner edges, ascending, are at most each value."""
    # np.searchsorted to the right, value by value the same. Here all values take each step of
    # the binary search together, which spares the processor guessing and takes a quarter.
    half = 2 ** len(inner).bit_length() // 2
    padded = np.full(2 * half, np.inf)
    padded[: len(inner)] = inner

    def regions(values: np.ndarray) -> np.ndarray:
        found = np.zeros(len(values), dtype=np.intp)
        step = half
        while step:
            found += np.intp(step) * (padded[step - 1 :].take(found) <= values).view(np.int8)
            step //= 2
        return found

    return regions


_CUTS: dict[str, Callable[[np.ndarray, int], _Cut]] = {
    "width": _equal_widths,
    "log": _equal_log_widths,
    "quantile": _equal_sizes,
}
STRATA_BY = tuple(_CUTS)
