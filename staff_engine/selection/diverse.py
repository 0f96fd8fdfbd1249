"""Samples of each stratum in an order that spreads over the embeddings: facility location, greedily."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from staff_engine.selection.drawing import Order
from staff_engine.selection.strata import Strata

BLOCK = 4096
"""Samples that are compared with each other: the similarities of more would not fit in memory."""

SCALE = 4096
"""Similarities are kept as whole multiples of 1 / SCALE. Sums of them are exact, so the order is the
same for every number of threads."""

AHEAD = 1.25
"""How much further than asked an order is made, so that a slightly larger coreset is there already."""


@dataclass(eq=False)
class DiverseOrder:
    """The samples of K strata, in each in the order in which they are taken. Made as far as asked for.

    Parameters
    ----------
    strata : Strata
        K strata of N samples.
    embedding : float16 or float32 (N, h)
        An embedding of each sample.
    order : Order
        Samples in the order of their priority: it cuts large strata into blocks, and decides ties.
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
    """The mean of some rows, float64 (h,), added up block by block; zeros for no rows."""
    total = np.zeros(embedding.shape[1])
    for start in range(0, len(rows), BLOCK):
        total += embedding[rows[start : start + BLOCK]].astype(np.float64).sum(axis=0)
    return total / max(1, len(rows))


def spread(members: np.ndarray, embedding: np.ndarray, centre: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of some samples, each the one that represents the others best beside those before.

    Parameters
    ----------
    members : int (n,)
        Row ids, in the order of their priority.
    embedding : float (N, h)
        An embedding of each sample.
    centre : float64 (h,)
        Subtracted from each: mean-pooled states of a language model share a large common part.
    count : int
        0 to n.

    Returns
    -------
    int64 (count,)
        Row ids, the first to be taken first: fewer are the first of more.

    Notes
    -----
    Facility location (Wei, Iyer and Bilmes, ICML 2015): the set S that maximises Σ_i max_{j ∈ S} s_ij,
    s the cosine similarity, by Minoux's lazy greedy algorithm, which is within 1 - 1/e of the best.
    Its cost grows with n², so more than `BLOCK` samples are cut into equal blocks at random (by
    priority), and the blocks' orders are merged evenly.
    """
    blocks = np.array_split(members, max(1, -(-len(members) // BLOCK)))
    orders, places = [], []
    for block in blocks:
        wanted = min(len(block), -(-count * len(block) // max(1, len(members))) + 1)
        orders.append(block[_greedy(_similarities(embedding[block], centre), wanted)])
        places.append((np.arange(wanted) + 0.5) / max(1, len(block)))
    merged = np.argsort(np.concatenate(places), kind="stable")
    return np.concatenate(orders)[merged][:count].astype(np.int64)


def coverage_of(chosen: np.ndarray, similarities: np.ndarray) -> float:
    """Facility location's objective: mean over all n of the greatest similarity to one that is chosen."""
    return float(similarities[chosen].max(axis=0).mean()) / SCALE


def _similarities(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Cosine similarities in units of 1 / SCALE, int16 (n, n); 0 to a vector that is the centre."""
    centred = vectors.astype(np.float64) - centre
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    np.divide(centred, norms, out=centred, where=norms > 0)
    product = centred @ centred.T
    product *= SCALE
    return np.rint(product, out=product).astype(np.int16)


def _greedy(similarities: np.ndarray, count: int) -> np.ndarray:
    """Places of the samples in the order of the greedy algorithm, int64 (count,); ties by place."""
    best = np.full(len(similarities), -SCALE, np.int16)  # each one's greatest similarity so far
    # What each would add to the sum of `best`; it can only fall, so an old figure is a bound.
    gains = similarities.sum(axis=1, dtype=np.int64) + SCALE * len(similarities)
    bounds = [(-int(gain), place) for place, gain in enumerate(gains)]
    heapq.heapify(bounds)
    chosen = np.empty(count, np.int64)
    gain_of = np.empty_like(best)
    for turn in range(count):
        while True:
            bound, place = bounds[0]
            if turn == 0 or bound == 0:  # exact already
                break
            np.subtract(similarities[place], best, out=gain_of)
            np.maximum(gain_of, 0, out=gain_of)
            gain = int(gain_of.sum(dtype=np.int64))
            if -gain == bound:
                break
            heapq.heapreplace(bounds, (-gain, place))
        heapq.heappop(bounds)
        np.maximum(best, similarities[place], out=best)
        chosen[turn] = place
    return chosen
