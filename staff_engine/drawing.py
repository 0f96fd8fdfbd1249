"""In which order the samples of each stratum are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.strata import Strata

VERIFICATION, SELECTION = 0, 1
"""The streams of priorities: what is verified tells nothing about what is selected."""

ROW_BITS, HASH_BITS = 28, 22
"""With the 14 bits of a stratum below `strata.MAX_STRATA` they fill a uint64."""

_WORD = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, eq=False)
class Queues:
    """The samples of K strata, in each in the order in which they are drawn.

    Attributes
    ----------
    row_ids : int64 (n,)
        Stratum by stratum.
    starts : int64 (K,)
        Where each stratum's queue starts in `row_ids`.
    total : int
        N, the number of rows of which `row_ids` are some.
    """

    row_ids: np.ndarray
    starts: np.ndarray
    total: int

    def first(self, counts: np.ndarray) -> np.ndarray:
        """Return the first `counts[i]` samples of each queue i: row ids, int64, ascending."""
        places = np.repeat(self.starts - (np.cumsum(counts) - counts), counts)
        chosen = np.zeros(self.total, dtype=bool)
        chosen[self.row_ids[places + np.arange(len(places))]] = True
        return np.flatnonzero(chosen)


def priorities(seed: int, row_ids: np.ndarray, stream: int) -> np.ndarray:
    """Return the fixed pseudo-random priority of samples; the lowest is drawn first.

    A priority depends on the seed, the stream and the sample's own row id alone, so a
    draw is the same in any order, sharding or stratification of the samples.

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
        22 bits of a hash of all three, then the 28 bits of the row id: so no two are
        equal, and a sort of the values brings the row ids along.

    Raises
    ------
    PlanError
        If the seed is out of range.
    ValueError
        If a row id is.

    Notes
    -----
    The hash is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), a counter-based
    generator: sample d's number is mix(key + (d + 1)·γ), the key mixed from the seed
    and the stream. The paper and the released code draw from an unseeded generator.
    """
    if not 0 <= seed < 2**63:
        raise PlanError(f"seed is {seed}; allowed: 0 to 2**63 - 1")
    row_ids = np.asarray(row_ids)
    wrong = np.flatnonzero((row_ids < 0) | (row_ids >= 2**ROW_BITS))
    if len(wrong):
        raise ValueError(f"row id {row_ids[wrong[0]]} is too low or high; allowed: 0 to {2**ROW_BITS - 1}")
    rows = row_ids.astype(np.uint64)
    hashed = _mix((rows + np.uint64(1)) * np.uint64(_GOLDEN) + np.uint64(_key(seed, stream)))
    hashed >>= np.uint64(64 - HASH_BITS)
    hashed <<= np.uint64(ROW_BITS)
    hashed |= rows
    return hashed


def _key(seed: int, stream: int) -> int:
    return int(_mix(np.array([(2 * seed + stream + 1) * _GOLDEN & _WORD], dtype=np.uint64))[0])


def _mix(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer, in place: a bijection of the 64-bit words."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words


def queue_at_random(strata: Strata, *, seed: int, stream: int) -> Queues:
    """Queue each stratum's samples by their priority, lowest first (the paper's draw)."""
    count = len(strata.labels)
    keys = priorities(seed, np.arange(count), stream)
    # A label below 0, of a sample in no stratum, becomes one of the greatest 14-bit numbers.
    keys |= strata.labels.astype(np.uint64) << np.uint64(ROW_BITS + HASH_BITS)
    keys.sort()
    keys &= np.uint64(2**ROW_BITS - 1)
    return Queues(keys[: strata.sizes.sum()].astype(np.int64), _starts(strata.sizes), count)


def queue_hardest_first(strata: Strata, scores: np.ndarray) -> Queues:
    """Queue each stratum's samples by score, greatest first, equal ones by row id (as released)."""
    row_ids = np.flatnonzero(strata.labels >= 0)
    row_ids = row_ids[_descending(scores[row_ids])]
    # Strata rise with the score: the queue of the last stratum comes first.
    return Queues(row_ids, _starts(strata.sizes[::-1])[::-1], len(scores))


def _descending(scores: np.ndarray) -> np.ndarray:
    """A stable argsort of -scores, several times as fast where few scores are nearly equal."""
    # The bits of a float of 0 or more rise with it. Inverted, without the sign and the last
    # 27, and with its place in their stead, they are keys that a plain sort puts nearly right.
    places = np.uint64(2**ROW_BITS - 1)
    keys = ~scores.view(np.uint64) << np.uint64(1) & ~places
    keys |= np.arange(len(scores), dtype=np.uint64)
    keys.sort()
    order = (keys & places).astype(np.int64)
    return order[np.argsort(-scores[order], kind="stable")]


def _starts(sizes: np.ndarray) -> np.ndarray:
    starts: np.ndarray = np.cumsum(sizes) - sizes
    return starts
