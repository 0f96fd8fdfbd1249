"""An order of each stratum's samples that covers the embeddings: greedy facility location."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from staff_engine.selection.drawing import Order
from staff_engine.selection.strata import Strata

BLOCK = 4096
"""Samples that are compared with each other. The similarities of more would not fit in memory."""

SCALE = 4096
"""Similarities are stored as integers in units of 1 / SCALE. Their sums are exact, so the order does not
depend on the number of threads."""

AHEAD = 1.25
"""Factor by which an order is longer than requested, so that a slightly larger coreset needs no work."""


@dataclass(eq=False)
class DiverseOrder:
    """For each of K strata, its samples in the order of selection. Computed as far as needed.

    Parameters
    ----------
    strata : Strata
        K strata of N samples.
    embedding : float16 or float32 (N, h)
        An embedding of each sample.
    order : Order
        Samples in the order of their priority. It divides large strata into blocks and breaks ties.
    """

    strata: Strata
    embedding: np.ndarray = field(repr=False)
    order: Order = field(repr=False)

    def __post_init__(self) -> None:
        labels = self.strata.labels[self.order.row_ids]
        by_stratum = np.argsort(labels, kind="stable")
        members = self.order.row_ids[by_stratum][np.count_nonzero(labels < 0) :]
        self._members = np.split(members, np.cumsum(self.strata.sizes)[:-1])
        self._made = [np.zeros(0, np.int64) for _ in self._members]
        self._centre = mean_embedding(self.embedding, members)

    def first(self, counts: np.ndarray) -> np.ndarray:
        """Return the first `counts[i]` samples of each stratum i: row ids, int64, ascending."""
        taken = [self._first_of(stratum, int(count)) for stratum, count in enumerate(counts)]
        return np.sort(np.concatenate(taken))

    def _first_of(self, stratum: int, count: int) -> np.ndarray:
        members = self._members[stratum]
        if count == len(members):
            return members.astype(np.int64)
        if count > len(self._made[stratum]):
            wanted = min(len(members), int(np.ceil(count * AHEAD)))
            self._made[stratum] = spread(members, self.embedding, self._centre, wanted)
        return self._made[stratum][:count]


def mean_embedding(embedding: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The mean of some rows, float64 (h,), summed block by block; zeros for no rows."""
    total = np.zeros(embedding.shape[1])
    for start in range(0, len(rows), BLOCK):
        total += embedding[rows[start : start + BLOCK]].astype(np.float64).sum(axis=0)
    return total / max(1, len(rows))


def spread(members: np.ndarray, embedding: np.ndarray, centre: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the samples, greedily: each adds most to how well the samples are represented.

    Parameters
    ----------
    members : int (n,)
        Row ids, in the order of their priority.
    embedding : float (N, h)
        An embedding of each sample.
    centre : float64 (h,)
        Subtracted from each embedding: mean-pooled states of a language model have a large common part.
    count : int
        0 to n.

    Returns
    -------
    int64 (count,)
        Row ids in the order of selection. A shorter result is a prefix of a longer one.

    Notes
    -----
    Facility location (Wei, Iyer and Bilmes, ICML 2015): find the set S that maximises
    Σ_i max_{j ∈ S} s_ij, where s is the cosine similarity. Minoux's lazy greedy algorithm reaches at
    least 1 - 1/e of the maximum. Its cost grows with n², so more than `BLOCK` samples are divided at
    random (by priority) into equal blocks, and the orders of the blocks are merged evenly.
    """
    blocks = np.array_split(members, max(1, -(-len(members) // BLOCK)))
    orders, positions = [], []
    for block in blocks:
        wanted = min(len(block), -(-count * len(block) // max(1, len(members))) + 1)
        orders.append(block[_greedy(_similarities(embedding[block], centre), wanted)])
        positions.append((np.arange(wanted) + 0.5) / max(1, len(block)))
    merged = np.argsort(np.concatenate(positions), kind="stable")
    return np.concatenate(orders)[merged][:count].astype(np.int64)


def coverage_of(chosen: np.ndarray, similarities: np.ndarray) -> float:
    """Objective of facility location: mean over all n of the highest similarity to a chosen sample."""
    return float(similarities[chosen].max(axis=0).mean()) / SCALE


def _similarities(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Cosine similarities in units of 1 / SCALE, int16 (n, n); 0 for a vector equal to the centre."""
    centred = vectors.astype(np.float64) - centre
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    np.divide(centred, norms, out=centred, where=norms > 0)
    product = centred @ centred.T
    product *= SCALE
    return np.rint(product, out=product).astype(np.int16)


def _greedy(similarities: np.ndarray, count: int) -> np.ndarray:
    """Indices of the samples in the order of the greedy algorithm, int64 (count,); ties by index."""
    best = np.full(len(similarities), -SCALE, np.int16)  # highest similarity of each sample so far
    # How much each sample would add to the sum of `best`. It can only fall, so an old value is a bound.
    gains = similarities.sum(axis=1, dtype=np.int64) + SCALE * len(similarities)
    bounds = [(-int(gain), index) for index, gain in enumerate(gains)]
    heapq.heapify(bounds)
    chosen = np.empty(count, np.int64)
    gain_of = np.empty_like(best)
    for turn in range(count):
        while True:
            bound, index = bounds[0]
            if turn == 0 or bound == 0:  # already exact
                break
            np.subtract(similarities[index], best, out=gain_of)
            np.maximum(gain_of, 0, out=gain_of)
            gain = int(gain_of.sum(dtype=np.int64))
            if -gain == bound:
                break
            heapq.heapreplace(bounds, (-gain, index))
        heapq.heappop(bounds)
        np.maximum(best, similarities[index], out=best)
        chosen[turn] = index
    return chosen
