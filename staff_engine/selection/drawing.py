"""The order in which the samples of each stratum are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.order.blocks import blocks
from staff_engine.selection.strata import NO_SCORE, Strata

VERIFICATION, SELECTION = 0, 1
"""Streams of priorities: the verified samples are independent of the selected ones."""

ROW_BITS, HASH_BITS = 28, 22
_ROW = np.uint64(2**ROW_BITS - 1)

_WORD = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, eq=False)
class Order:
    """N samples in the order in which they are drawn, regardless of their strata.

    Attributes
    ----------
    row_ids : uint32 (N,)
        Row ids in the order of the draw.
    ranks : uint32 (N,)
        The index of each row in `row_ids`.
    """

    row_ids: np.ndarray
    ranks: np.ndarray


@dataclass(frozen=True, eq=False)
class Queues:
    """For each of K strata, its samples in the order in which they are drawn.

    Attributes
    ----------
    row_ids : uint32 (n,)
        Stratum by stratum.
    starts : int64 (K,)
        Index in `row_ids` where the queue of each stratum starts.
    total : int
        N, the number of all rows; `row_ids` can be a part of them.
    """

    row_ids: np.ndarray
    starts: np.ndarray
    total: int

    def first(self, counts: np.ndarray) -> np.ndarray:
        """Return the first `counts[i]` samples of each queue i: row ids, int64, ascending."""
        return _ascending(self._heads(counts), self.total)

    def without(self, mask: np.ndarray, *, reach: np.ndarray) -> Queues:
        """Return the first `reach[i]` samples of each queue i, without those in a mask, bool (N,)."""
        row_ids = self._heads(reach)
        left = ~mask[row_ids]
        sizes = np.bincount(np.repeat(np.arange(len(reach)), reach)[left], minlength=len(reach))
        return Queues(row_ids[left], _starts(sizes), self.total)

    def _heads(self, counts: np.ndarray) -> np.ndarray:
        ends = (self.starts + counts).tolist()
        return np.concatenate(
            [self.row_ids[start:end] for start, end in zip(self.starts.tolist(), ends, strict=True)]
        )


def priorities(seed: int, row_ids: np.ndarray, stream: int) -> np.ndarray:
    """Return the fixed pseudo-random priority of samples; the lowest is drawn first.

    A priority depends only on the seed, the stream and the row id of the sample. So a draw does
    not depend on the order, sharding or stratification of the samples.

    Parameters
    ----------
    seed : int
        0 to 2**63 - 1.
    row_ids : int (n,)
        0 to 2**28 - 1.
    stream : int
        `VERIFICATION` or `SELECTION`.

    Returns
    -------
    uint64 (n,)
        22 bits of a hash of all three, then the 28 bits of the row id. So no two are equal, and
        sorting the values also sorts the row ids.

    Raises
    ------
    PlanError
        If the seed is out of range.
    ValueError
        If a row id is out of range.

    Notes
    -----
    The hash is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), a counter-based
    generator: the number of sample d is mix(key + (d + 1)·γ), where the key is mixed from the seed
    and the stream. The paper and the released code draw from an unseeded generator.
    """
    if not 0 <= seed < 2**63:
        raise PlanError(f"seed is {seed}; allowed: 0 to 2**63 - 1")
    row_ids = np.asarray(row_ids)
    wrong = np.flatnonzero((row_ids < 0) | (row_ids >= 2**ROW_BITS))
    if len(wrong):
        raise ValueError(f"row id {row_ids[wrong[0]]} is out of range; allowed: 0 to {2**ROW_BITS - 1}")
    rows = row_ids.astype(np.uint64)
    hashed = _mix((rows + np.uint64(1)) * np.uint64(_GOLDEN) + np.uint64(_key(seed, stream)))
    hashed >>= np.uint64(64 - HASH_BITS)
    hashed <<= np.uint64(ROW_BITS)
    hashed |= rows
    return hashed


def _key(seed: int, stream: int) -> int:
    return int(_mix(np.array([(2 * seed + stream + 1) * _GOLDEN & _WORD], dtype=np.uint64))[0])


def _mix(words: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64, in place: a bijection of 64-bit words."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words


def order_at_random(count: int, *, seed: int, stream: int) -> Order:
    """Order `count` samples by their priority, lowest first; arguments as in `priorities`."""
    keys = np.empty(count, dtype=np.uint64)
    for block in blocks(count):
        keys[block] = priorities(seed, np.arange(block.start, block.stop), stream)
    keys.sort()
    row_ids, ranks = np.empty((2, count), dtype=np.uint32)
    for block in blocks(count):
        row_ids[block] = keys[block] & _ROW
        ranks[_as_index(row_ids[block])] = np.arange(block.start, block.stop, dtype=np.uint32)
    return Order(row_ids, ranks)


def order_hardest_first(scores: np.ndarray) -> np.ndarray:
    """Row ids, uint32, of the finite scores: highest first, equal scores by row id (as released)."""
    keys = _keys_hardest_first(scores)
    row_ids = np.empty(len(keys), dtype=np.uint32)
    for block in blocks(len(keys)):
        row_ids[block] = keys[block] & _ROW
    # The keys contain the scores to 25 bits after the first. Scores with equal keys are adjacent,
    # by row id, so one stable sort of all of them keeps each within its group.
    keys >>= np.uint64(ROW_BITS)
    again = keys[1:] == keys[:-1]
    alike = np.flatnonzero(np.append(again, False) | np.append(False, again))
    some = row_ids[alike]
    row_ids[alike] = some[np.argsort(-scores[some], kind="stable")]
    return row_ids


def _keys_hardest_first(scores: np.ndarray) -> np.ndarray:
    """Keys of the finite scores, ascending: the inverted score, truncated, and the row id."""
    # The bits of a non-negative float, without the sign, increase with its value. Sorting such
    # keys takes a fraction of the time of an argsort.
    keys = np.empty(len(scores), dtype=np.uint64)
    for block in blocks(len(scores)):
        rows = np.arange(block.start, block.stop, dtype=np.uint64)
        keys[block] = ~scores[block].view(np.uint64) << np.uint64(1) & ~_ROW | rows
    keys.sort()
    return keys[len(scores) - np.count_nonzero(np.isfinite(scores)) :]  # NaN and inf come first


def queue_at_random(strata: Strata, order: Order) -> Queues:
    """Queue the samples of each stratum in random order (the paper's draw)."""
    count = len(strata.labels)
    bits = count.bit_length()
    # Sort by stratum and rank in one number. If both fit into half the width, it takes half the
    # time. A label below 0 (a sample in no stratum) wraps to one of the largest numbers.
    fits = len(strata.sizes) - NO_SCORE <= 2 ** (32 - bits)
    keys: np.ndarray = strata.labels.astype(np.uint32 if fits else np.uint64)
    keys <<= keys.dtype.type(bits)
    keys |= order.ranks
    keys.sort()
    keys = keys[: strata.sizes.sum()]
    row_ids = np.empty(len(keys), dtype=np.uint32)
    for block in blocks(len(keys)):
        row_ids[block] = order.row_ids[_as_index(keys[block]) & (2**bits - 1)]
    return Queues(row_ids, _starts(strata.sizes), count)


def queue_hardest_first(strata: Strata, order: np.ndarray) -> Queues:
    """Queue the samples of each stratum in the order of `order_hardest_first`."""
    row_ids = order[strata.labels[order] >= 0]
    # Strata are in the order of the score, so the queue of the last stratum comes first.
    return Queues(row_ids, _starts(strata.sizes[::-1])[::-1], len(strata.labels))


def _ascending(row_ids: np.ndarray, total: int) -> np.ndarray:
    """The rows, uint32, in ascending order as int64."""
    # Sort few rows; for many, mark each row and read the marks. The threshold was measured.
    if 5 * len(row_ids) < total:
        return np.sort(row_ids).astype(np.int64)
    marked = np.zeros(total, dtype=bool)
    for block in blocks(len(row_ids)):
        marked[_as_index(row_ids[block])] = True
    return np.flatnonzero(marked)


def _as_index(numbers: np.ndarray) -> np.ndarray:
    """The numbers as intp, the fastest index type: NumPy converts any other type one by one."""
    return numbers.astype(np.intp)


def _starts(sizes: np.ndarray) -> np.ndarray:
    starts: np.ndarray = np.cumsum(sizes) - sizes
    return starts
