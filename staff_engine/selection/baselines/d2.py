"""D2 Pruning: difficulty and diversity, balanced by messages on a graph of nearest neighbours."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.baselines.candidates import BETA, candidates, check_embedding, easiest
from staff_engine.selection.strata import check_scores

SPARE = 8
"""Extra neighbours to look up, to resolve ties of equal distance."""

BLOCK = 1_024
"""Samples whose distances are computed in double precision at a time."""


@dataclass(frozen=True, eq=False)
class Graph:
    """An undirected graph of n samples, as adjacency lists in one array.

    Attributes
    ----------
    starts : int64 (n + 1,)
        The edges of node i are those from `starts[i]` to `starts[i + 1] - 1`.
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
    """Select samples that are hard and have hard neighbours; each lowers the rank of its neighbours.

    Parameters
    ----------
    scores : float (N,)
        Difficulty, 0 or more, higher is harder. A value that is not finite marks an unscorable
        sample, which is never selected.
    embedding : float (N, h)
        Finite where the score is finite.
    pruning_rate : float
        Fraction of the scorable samples to remove, 0 or more and below 1.
    seed : int
        Not used: the method has no random draw.
    neighbours : int
        k, 1 or more. Each sample is linked to its k nearest, and to those that have it among their nearest.
    forward, reverse : float
        γ_f and γ_r, 0 or more: how fast a message decreases with the distance. A lower γ_r lowers
        the rank of the neighbours of a selected sample more.
    beta : float
        β, the fraction of the hardest samples to leave out before the graph is built, 0 or more and
        below 1. Fewer are left out if the coreset needs them.
    graphs : dict, optional
        Cache of graphs for the same scores and embeddings. This call uses it and adds to it. A graph
        is most of the work, and is the same for all pruning rates that leave out the full fraction β.

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
        If scores are negative, or the shapes of the arrays do not match.

    Notes
    -----
    D2 Pruning (Maharana et al., ICLR 2024). Forward: x_i = s_i + Σ_{j ∈ N(i)} e_ij·s_j
    with e_ij = exp(−γ_f·d_ij²). Then, repeatedly, the highest x_k is selected and its neighbours
    are updated: x_j ← x_j − exp(−γ_r·d_kj²)·x_k; ties by row id. A value can fall below 0. A sample
    that is selected at such a value raises its neighbours, as in the equation. The paper searches k
    and γ_r for each data set and rate. k = 5 and γ_r = 0.1 are from a command line for its released
    code on CIFAR-10, where γ_f is 1.

    Deviations: distances are in units of the median distance between neighbours, because the scale of
    hidden states depends on the model, so a fixed γ has no meaning (at ten times the scale, every
    message is 0). There is one graph for all samples, because there are no classes. The released code
    for CIFAR uses distances that are not squared. STAFF's code computes the mask of β but never applies
    it.
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
    """Link each of n samples to its nearest by Euclidean distance; ties by index.

    The search is exact: scikit-learn's brute force in blocks, whose memory does not grow with n².
    It subtracts large numbers for samples that are close together, so the distances of its results
    are computed again from the differences.
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
    """Add to the score of each sample, float64 (n,), those of its neighbours, weighted by closeness."""
    froms = np.repeat(np.arange(len(scores)), np.diff(graph.starts))
    messages = np.exp(-gamma * graph.squared) * scores[graph.ends]
    return scores + np.bincount(froms, messages, minlength=len(scores))


def choose_greedily(wanted: np.ndarray, graph: Graph, gamma: float, size: int) -> np.ndarray:
    """Indices of the selected samples, in the order of selection."""
    starts, ends = graph.starts.tolist(), graph.ends.tolist()
    weights = np.exp(-gamma * graph.squared).tolist()
    values: list[float | None] = wanted.tolist()
    queue = [(-value, index) for index, value in enumerate(wanted.tolist())]
    heapq.heapify(queue)
    chosen: list[int] = []
    while len(chosen) < size:
        negative, index = heapq.heappop(queue)
        if values[index] != -negative:
            continue  # already selected, or its value has changed and is in the queue again
        values[index] = None
        chosen.append(index)
        for edge in range(starts[index], starts[index + 1]):
            value = values[ends[edge]]
            if value is not None:
                values[ends[edge]] = value = value + weights[edge] * negative
                heapq.heappush(queue, (-value, ends[edge]))
    return np.array(chosen, dtype=np.int64)


def _nearest(vectors: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Nearest other vectors of each vector: indices, int64, and squared distances, float64 (n, wanted)."""
    from sklearn.neighbors import NearestNeighbors

    count = len(vectors)
    asked = min(count, wanted + 1 + SPARE)
    search = NearestNeighbors(n_neighbors=asked, algorithm="brute").fit(vectors)
    places = np.empty((count, wanted), np.int64)
    squared = np.empty((count, wanted))
    unsure = []
    guesses = search.kneighbors(vectors, return_distance=False)
    for start in range(0, count, BLOCK):
        own = np.arange(start, min(start + BLOCK, count))
        near = guesses[own]
        distances = _squared(vectors[own, None], vectors[near])
        distances[near == own[:, None]] = np.inf  # the sample itself, wherever it is among equals
        order = np.lexsort((near, distances))[:, :wanted]
        places[own] = np.take_along_axis(near, order, 1)
        squared[own] = np.take_along_axis(distances, order, 1)
        # Other samples, with lower row ids, can be at the same distance as the last result.
        farthest = np.where(np.isinf(distances), -1, distances).max(axis=1)
        unsure.append(own[(squared[own, -1] >= farthest) & (asked < count)])
    _settle_ties(vectors, np.concatenate(unsure), places, squared)
    return places, squared


def _settle_ties(vectors: np.ndarray, unsure: np.ndarray, places: np.ndarray, squared: np.ndarray) -> None:
    """Search all samples for those whose last neighbour can be tied with others."""
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
