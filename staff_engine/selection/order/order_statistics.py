"""The scores at some ranks: from a sort, or, for many scores, from a histogram in little memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from staff_engine.selection.order.blocks import blocks

LARGE = 10**7
"""Above this number of samples, nothing is sorted whole and little is cached: time is traded for memory."""

BIN_BITS = 16
BINS = 2**BIN_BITS


@dataclass(frozen=True, eq=False)
class Ranks:
    """The finite scores by rank.

    Attributes
    ----------
    count : int
        Number of finite scores.
    at : callable
        Maps ranks, int (r,), 0 (the lowest score) to `count` - 1, to the scores at these ranks,
        float64 (r,).
    """

    count: int
    at: Callable[[np.ndarray], np.ndarray]


def is_large(count: int) -> bool:
    """Whether there are so many samples that memory matters more than the time of a repeated selection."""
    return count > LARGE


def rank_scores(scores: np.ndarray) -> Ranks:
    """Rank the finite values of scores, float64 (N,), each 0 or more. Up to `LARGE` scores are sorted."""
    if is_large(len(scores)):
        return Ranks(int(np.count_nonzero(np.isfinite(scores))), partial(order_statistics, scores))
    ranked = np.sort(scores)
    ranked = ranked[: np.searchsorted(ranked, np.inf)]  # NaN is sorted after it
    return Ranks(len(ranked), ranked.take)


def order_statistics(scores: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the scores at some ranks without sorting all of them.

    One pass counts the scores in bins. A second one collects the bins with the ranks, and only these
    are sorted. In the worst case, equal scores, this takes as much memory as the scores.

    Parameters
    ----------
    scores : float64 (N,)
        0 or more; at least one is finite. Values that are not finite have no rank.
    ranks : int (r,)
        0 (the lowest score) to the number of finite scores - 1, in any order.

    Returns
    -------
    float64 (r,)
        The same as `np.sort(scores)[ranks]`.
    """
    bin_of = _bins_between(*_least_and_greatest(scores))
    counts = np.zeros(BINS + 1, dtype=np.int64)
    for block in blocks(len(scores)):
        counts += np.bincount(bin_of(scores[block]), minlength=len(counts))
    of_ranks = np.searchsorted(np.cumsum(counts), ranks, side="right")
    wanted = np.zeros(len(counts), dtype=bool)
    wanted[of_ranks] = True
    collected = np.empty(counts[wanted].sum())
    end = 0
    for block in blocks(len(scores)):
        some = scores[block]
        some = some[wanted.take(bin_of(some))]
        collected[end : end + len(some)] = some
        end += len(some)
    collected.sort()
    passed_over = np.cumsum(np.where(wanted, 0, counts))
    values: np.ndarray = collected[ranks - passed_over[of_ranks]]
    return values


def score_bits(scores: np.ndarray) -> np.ndarray:
    """The bits of scores, 0 or more, as int64: they increase with the score. NaN can have any bits."""
    return (scores + 0.0).view(np.int64)  # -0.0 becomes 0.0


def _bins_between(low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    """A function that maps scores to bins, int64, ascending with the score; the last one is for others."""
    least, greatest = score_bits(np.array([low, high])).tolist()
    shift = max(0, (greatest - least).bit_length() - BIN_BITS)

    def bin_of(scores: np.ndarray) -> np.ndarray:
        # Unsigned, because the bits of a NaN can be negative.
        bits = score_bits(scores).view(np.uint64)
        bits -= np.uint64(least)
        bits >>= np.uint64(shift)
        return np.minimum(bits, np.uint64(BINS), out=bits).view(np.int64)

    return bin_of


def _least_and_greatest(scores: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest finite score."""
    low, high = np.inf, 0.0
    for block in blocks(len(scores)):
        some = scores[block]
        some = some[np.isfinite(some)]
        low, high = min(low, some.min(initial=np.inf)), max(high, some.max(initial=0.0))
    return low, high
