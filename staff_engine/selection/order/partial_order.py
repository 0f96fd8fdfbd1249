"""The first samples of each stratum, found without ordering the others: for many samples, in little memory.

The results are the same as those of the queues of `drawing`. One pass over the samples counts them in
bins of each stratum, in the order of the draw. A second one takes all samples of the first bins, and
collects those of the bin in which the count of a stratum is reached. Only these are ordered.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from staff_engine.selection.drawing import HASH_BITS, ROW_BITS, Queues, priorities
from staff_engine.selection.order.blocks import blocks
from staff_engine.selection.order.order_statistics import score_bits
from staff_engine.selection.strata import NO_SCORE, Strata

CELL_BITS = 16
"""Bins of all strata together, as a power of 2: their counts stay in the processor's cache."""
FEWEST_BITS = 6
"""Fewest bins of a stratum, as a power of 2, even if there are many strata."""

_Bins = Callable[[slice, np.ndarray], np.ndarray]
"""A block, and the labels of its samples → their bins, int64; lower is drawn earlier."""
_Arrange = Callable[[np.ndarray], np.ndarray]
"""Row ids, ascending → the indices that put them into the order of the draw."""


def first_at_random(strata: Strata, counts: np.ndarray, *, seed: int, stream: int) -> np.ndarray:
    """Return the `counts[i]` samples of lowest priority of each stratum i.

    Parameters
    ----------
    strata : Strata
        K strata of N samples.
    counts : int (K,)
        0 to the size of each stratum.
    seed, stream
        As in `drawing.priorities`.

    Returns
    -------
    int64
        Row ids, ascending.

    Raises
    ------
    PlanError
        If the seed is out of range.
    """
    shift = np.uint64(ROW_BITS + HASH_BITS - _bin_bits(strata))

    def bins(block: slice, labels: np.ndarray) -> np.ndarray:
        keys = priorities(seed, np.arange(block.start, block.stop), stream)
        keys >>= shift
        return keys.view(np.int64)

    return _first(strata, counts, bins, lambda rows: np.argsort(priorities(seed, rows, stream)))


def first_hardest(strata: Strata, counts: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the `counts[i]` samples of highest score of each stratum i, equal scores by row id.

    Parameters
    ----------
    strata : Strata
        K strata of N samples.
    counts : int (K,)
        0 to the size of each stratum.
    scores : float64 (N,)
        The scores of which the strata were made.

    Returns
    -------
    int64
        Row ids, ascending.
    """
    bits = _bin_bits(strata)
    low, high = score_bits(strata.edges[:-1]), score_bits(strata.edges[1:])
    # Bins of equal width in the bits of the score, as wide as the range of the stratum requires.
    shifts = np.array([max(0, int(width).bit_length() - bits) for width in high - low])

    def bins(block: slice, labels: np.ndarray) -> np.ndarray:
        below = high.take(labels, mode="wrap")  # a sample in no stratum gets the bin of any
        below -= score_bits(scores[block])
        below >>= shifts.take(labels, mode="wrap")
        return np.clip(below, 0, 2**bits - 1, out=below)  # rounding puts scores past an edge

    return _first(strata, counts, bins, lambda rows: np.argsort(-scores[rows], kind="stable"))


def _bin_bits(strata: Strata) -> int:
    """The number of bins of each stratum, as a power of 2."""
    return max(FEWEST_BITS, CELL_BITS - len(strata.sizes).bit_length())


def _first(strata: Strata, counts: np.ndarray, bins: _Bins, arrange: _Arrange) -> np.ndarray:
    """The first `counts[i]` samples of each stratum i, int64, ascending."""
    per_bin = _count_in_bins(strata, bins)
    ends = np.cumsum(per_bin, axis=1)
    last = np.count_nonzero(ends < counts[:, np.newaxis], axis=1)  # the bin in which the count is reached
    sizes = per_bin[np.arange(len(last)), last]
    missing = counts - (ends[np.arange(len(last)), last] - sizes)
    limits = np.append(last, [-1] * -NO_SCORE)  # a label below 0 reads these
    marked = np.zeros(len(strata.labels), dtype=bool)
    collected = np.empty(sizes.sum(), dtype=np.uint32)
    end = 0
    for block in blocks(len(marked)):
        labels = strata.labels[block].astype(np.intp)
        found, limit = bins(block, labels), limits.take(labels)
        marked[block] = found < limit
        rows = np.flatnonzero(found == limit) + block.start
        collected[end : end + len(rows)] = rows
        end += len(rows)
    ordered = collected[arrange(collected)]
    ordered = ordered[np.argsort(strata.labels[ordered], kind="stable")]
    marked[Queues(ordered, np.cumsum(sizes) - sizes, len(marked)).first(missing)] = True
    return np.flatnonzero(marked)


def _count_in_bins(strata: Strata, bins: _Bins) -> np.ndarray:
    """Count the samples of each bin of each stratum: int64 (K, number of bins)."""
    bits = _bin_bits(strata)
    counts = np.zeros((len(strata.sizes) - NO_SCORE) << bits, dtype=np.int64)
    for block in blocks(len(strata.labels)):
        labels = strata.labels[block].astype(np.intp)
        cells = bins(block, labels)
        labels -= NO_SCORE
        labels <<= bits
        labels |= cells
        np.add.at(counts, labels, 1)
    return counts.reshape(-1, 2**bits)[-NO_SCORE:]
