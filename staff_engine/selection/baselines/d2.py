"""D2 Pruning: difficulty and diversity weighed by messages along a graph of nearest neighbours."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.baselines.candidates import BETA, candidates, check_embedding, easiest
from staff_engine.selection.strata import check_scores

SPARE = 8
"""Neighbours looked up beyond those asked for, to tell equally near ones apart."""

BLOCK = 1_024
"""Samples whose neighbours are measured in double precision at a time."""


@dataclass(frozen=True, eq=False)
class Graph:
    """An undirected graph of n samples, each with its neighbours one after the other.

    Attributes
    ----------
    starts : int64 (n + 1,)
        Node i's edges are those from `starts[i]` up to, but not, `starts[i + 1]`.
    ends : int64 (edges,)
        The node at the other end, ascending for each node.
    squared : float64 (edges,)
        Squared Euclidean distance, in units of the median one; 0 or more.
    """

    starts: np.ndarray
    ends: np.ndarray
    squared: np.ndarray


def select_d2(
    scores: np.ndarray,
    embedding: np.ndarray,
    *,
    pruning_rate: float,
    seed: int = 0,
    neighbours: int = 5,
    forward: float = 1.0,
    reverse: float = 0.1,
    beta: float = BETA,
    graphs: dict[tuple[int, int], Graph] | None = None,
) -> np.ndarray:
    """Take the samples that are hardest with their neighbours, each making its neighbours less wanted.

    Parameters
    ----------
    scores : float (N,)
        Difficulty, 0 or more, higher is harder; what is not finite marks an unscorable sample,
        which is never chosen.
    embedding : float (N, h)
        Finite where the score is.
    pruning_rate : float
        Fraction of the scorable samples that is removed, 0 or more and below 1.
    seed : int
        Changes nothing: the method draws nothing.
    neighbours : int
        k, 1 or more; each sample is linked with its k nearest, and with those whose nearest it is.
    forward, reverse : float
        γ_f and γ_r, 0 or more: how fast a message fades with the distance. A lower γ_r pushes
        the neighbours of what is chosen further down.
    beta : float
        β, the fraction of the hardest that is left out before the graph is made, 0 or more and
        below 1; less where the coreset needs the samples.
    graphs : dict, optional
        Graphs of these very scores and embeddings from calls before, to which this one adds its own:
        most of the work, and the same for all pruning rates that the cut does not give way to.

    Returns
    -------
    int64 (m,)
        Row ids, ascending, each once; m = max(1, round((1 - pruning_rate)·scorable)).

    Raises
    ------
    DatasetError
        If no score is finite.
    PlanError
        If a setting is not allowed.
    ValueError
        If scores are negative, or the arrays do not fit each other.

    Notes
    -----
    D2 Pruning (Maharana et al., ICLR 2024). Forward: x_i = s_i + Σ_{j ∈ N(i)} e_ij·s_j
    with e_ij = exp(−γ_f·d_ij²). Then again and again the greatest x_k is chosen and for its
    neighbours x_j ← x_j − exp(−γ_r·d_kj²)·x_k; equal ones by row id. A value may fall below 0, and
    who is chosen at such a value lifts its neighbours, as the equation says. The paper searches k
    and γ_r for each data set and rate: k = 5 and γ_r = 0.1 are from a command line for its released
    code on CIFAR-10, in which γ_f is 1.

    Deviations: distances are in units of the median distance between neighbours, because a model's
    hidden states have a scale of their own, on which a fixed γ means nothing (a factor of ten, and
    every message is 0). One graph for all samples, as there are no classes. The released code for CIFAR
    takes distances that are not squared; that of STAFF computes the mask of β and never applies it.
    """
    _check(neighbours, forward, reverse)
    scores = check_scores(scores, "scores")
    rows, size = candidates(scores, pruning_rate)
    check_embedding(embedding, rows, len(scores))
    rows = easiest(scores, rows, beta, size)
    graphs, key = {} if graphs is None else graphs, (len(rows), neighbours)
    if key not in graphs:
        graphs[key] = neighbour_graph(embedding[rows], neighbours)
    graph = graphs[key]
    wanted = pass_forward(scores[rows], graph, forward)
    return np.sort(rows[choose_greedily(wanted, graph, reverse, size)])


def neighbour_graph(embedding: np.ndarray, neighbours: int) -> Graph:
    """Link each of n samples with its nearest by Euclidean distance, equally near ones by place.

    Exact, by scikit-learn's brute force in blocks: memory does not grow with n squared. It
    subtracts large numbers where samples are near each other, so the distances of what it finds
    are measured again from the differences.
    """
    count = len(embedding)
    if count < 2:
        return Graph(np.zeros(count + 1, np.int64), np.zeros(0, np.int64), np.zeros(0))
    nearest, squared = _nearest(embedding.astype(np.float32), min(neighbours, count - 1))
    froms = np.repeat(np.arange(count), nearest.shape[1])
    unit = np.median(squared)
    squared = squared.reshape(-1) / (unit if unit > 0 else 1.0)
    pairs = np.concatenate([froms * count + nearest.reshape(-1), nearest.reshape(-1) * count + froms])
    pairs, first = np.unique(pairs, return_index=True)
    starts = np.searchsorted(pairs, np.arange(count + 1) * count)
    return Graph(starts, pairs % count, squared[first % len(squared)])


def pass_forward(scores: np.ndarray, graph: Graph, gamma: float) -> np.ndarray:
    """Add to each sample's score, float64 (n,), those of its neighbours, less the farther they are."""
    froms = np.repeat(np.arange(len(scores)), np.diff(graph.starts))
    messages = np.exp(-gamma * graph.squared) * scores[graph.ends]
    return scores + np.bincount(froms, messages, minlength=len(scores))


def choose_greedily(wanted: np.ndarray, graph: Graph, gamma: float, size: int) -> np.ndarray:
    """Places of the samples that are chosen, in the order in which they are."""
    starts, ends = graph.starts.tolist(), graph.ends.tolist()
    weights = np.exp(-gamma * graph.squared).tolist()
    values: list[float | None] = wanted.tolist()
    queue = [(-value, place) for place, value in enumerate(wanted.tolist())]
    heapq.heapify(queue)
    chosen: list[int] = []
    while len(chosen) < size:
        negative, place = heapq.heappop(queue)
        if values[place] != -negative:
            continue  # chosen already, or its value has changed and stands in the queue again
        values[place] = None
        chosen.append(place)
        for edge in range(starts[place], starts[place + 1]):
            value = values[ends[edge]]
            if value is not None:
                values[ends[edge]] = value = value + weights[edge] * negative
                heapq.heappush(queue, (-value, ends[edge]))
    return np.array(chosen, dtype=np.int64)


def _nearest(vectors: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest others of each vector, int64 and float64 (n, wanted): places and squared distances."""
    from sklearn.neighbors import NearestNeighbors

    count = len(vectors)
    asked = min(count, wanted + 1 + SPARE)
    found = NearestNeighbors(n_neighbors=asked, algorithm="brute").fit(vectors)
    places = np.empty((count, wanted), np.int64)
    squared = np.empty((count, wanted))
    unsure = []
    guesses = found.kneighbors(vectors, return_distance=False)
    for start in range(0, count, BLOCK):
        own = np.arange(start, min(start + BLOCK, count))
        near = guesses[own]
        distances = _squared(vectors[own, None], vectors[near])
        distances[near == own[:, None]] = np.inf  # oneself, wherever it stands among equals
        order = np.lexsort((near, distances))[:, :wanted]
        places[own] = np.take_along_axis(near, order, 1)
        squared[own] = np.take_along_axis(distances, order, 1)
        # As far as the last one that was found there may be others, of lower row ids.
        farthest = np.where(np.isinf(distances), -1, distances).max(axis=1)
        unsure.append(own[(squared[own, -1] >= farthest) & (asked < count)])
    _settle_ties(vectors, np.concatenate(unsure), places, squared)
    return places, squared


def _settle_ties(vectors: np.ndarray, unsure: np.ndarray, places: np.ndarray, squared: np.ndarray) -> None:
    """Look at all samples for those whose last neighbour may be one of several, equally near."""
    if not len(unsure):
        return
    wanted = places.shape[1]
    different, inverse = np.unique(vectors[unsure], axis=0, return_inverse=True)
    groups = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    for vector, group in zip(different, groups, strict=True):  # repeated samples share a search
        distances = np.concatenate(
            [_squared(vector, vectors[start : start + BLOCK]) for start in range(0, len(vectors), BLOCK)]
        )
        bound = np.partition(distances, wanted)[wanted]
        near = np.flatnonzero(distances <= bound)
        near = near[np.argsort(distances[near], kind="stable")]
        for own in unsure[group]:
            others = near[near != own][:wanted]
            places[own], squared[own] = others, distances[others]


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = np.subtract(a, b, dtype=np.float64)
    return np.einsum("...i,...i->...", difference, difference)


def _check(neighbours: int, forward: float, reverse: float) -> None:
    if neighbours < 1:
        raise PlanError(f"neighbours is {neighbours}; allowed: 1 or more")
    for name, value in (("forward", forward), ("reverse", reverse)):
        if not value >= 0:
            raise PlanError(f"{name} is {value}; allowed: 0 or more")
