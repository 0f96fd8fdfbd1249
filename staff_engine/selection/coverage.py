"""Several coresets of the same data: how alike they are, and what of the data they reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CLUSTERS = 50
"""Clusters of embeddings that a coreset may reach: as many as there are strata by default."""

MINI_BATCHES_FROM = 20_000
"""From so many samples on, k-means looks at a part of them in each step."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Profile:
    """How a column of the data is spread in all samples and in each coreset."""

    everything: np.ndarray
    """float64 (q,): its `QUANTILES` over all scorable samples; NaN without any."""
    coresets: np.ndarray
    """float64 (c, q): likewise in each coreset."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """C coresets set beside each other, in the order of `names`."""

    names: tuple[str, ...]
    sizes: np.ndarray
    """int64 (c,): samples."""
    jaccard: np.ndarray
    """float64 (c, c): samples in both over samples in either; 0 none, 1 the same coreset."""
    strata: np.ndarray
    """float64 (c,): share of the strata with samples from which it has one, 0 to 1."""
    clusters: np.ndarray
    """float64 (c,): share of the clusters of embeddings likewise; NaN without embeddings."""
    num_strata: int
    """Strata with samples."""
    num_clusters: int
    """Clusters with samples."""
    lengths: Profile
    """Of the response, in tokens."""
    losses: Profile
    """On the model whose scores were read, in nats a token."""


def measure_coverage(
    coresets: Mapping[str, np.ndarray],
    *,
    strata: np.ndarray,
    clusters: np.ndarray | None,
    lengths: np.ndarray,
    losses: np.ndarray,
) -> Coverage:
    """Set coresets of the same N samples beside each other.

    Parameters
    ----------
    coresets
        Row ids, int64 (m,), each once, by name.
    strata : int (N,)
        Stratum of each sample, below 0 where it is in none.
    clusters : int (N,)
        Cluster of each sample likewise, as `cluster_embeddings` has them; None without embeddings.
    lengths : int (N,)
        Response tokens.
    losses : float (N,)
        NaN where a sample is unscorable: it counts among the lengths of all neither.
    """
    chosen = list(coresets.values())
    scorable = np.flatnonzero(np.isfinite(losses))
    return Coverage(
        names=tuple(coresets),
        sizes=np.array([len(ids) for ids in chosen], dtype=np.int64),
        jaccard=overlaps(chosen, len(losses)),
        strata=np.array([share_reached(strata, ids) for ids in chosen]),
        clusters=np.array([np.nan if clusters is None else share_reached(clusters, ids) for ids in chosen]),
        num_strata=_count_groups(strata),
        num_clusters=0 if clusters is None else _count_groups(clusters),
        lengths=_profile(lengths, scorable, chosen),
        losses=_profile(losses, scorable, chosen),
    )


def overlaps(coresets: list[np.ndarray], total: int) -> np.ndarray:
    """Jaccard index of every two coresets, float64 (c, c): samples in both over samples in either.

    Parameters
    ----------
    coresets
        Row ids, 0 to total - 1, each once; two empty coresets have nothing in common.
    """
    found = np.eye(len(coresets))
    inside = np.zeros(total, dtype=bool)
    for i, first in enumerate(coresets):
        inside[:] = False
        inside[first] = True
        for j in range(i):
            shared = int(np.count_nonzero(inside[coresets[j]]))
            found[i, j] = found[j, i] = shared / max(len(first) + len(coresets[j]) - shared, 1)
    return found


def share_reached(groups: np.ndarray, ids: np.ndarray) -> float:
    """Share of the groups, int (N,), below 0: in none, that have one of the row ids; NaN without groups."""
    there = _count_groups(groups)
    return _count_groups(groups[ids]) / there if there else float("nan")


def cluster_embeddings(
    embedding: np.ndarray, scorable: np.ndarray, *, seed: int = 0, num_clusters: int = CLUSTERS
) -> np.ndarray:
    """Group samples by k-means over their embeddings.

    Parameters
    ----------
    embedding : float (N, h)
    scorable : bool (N,)
        The samples to group.
    seed : int
        Of the first centres; another gives other clusters.
    num_clusters : int
        Fewer where there are fewer different embeddings.

    Returns
    -------
    int64 (N,)
        Cluster of each sample, -1 where it is not scorable.

    Notes
    -----
    scikit-learn's k-means by Lloyd's steps, or by mini-batches from `MINI_BATCHES_FROM` samples
    on; Euclidean distance, one start by k-means++.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    labels = np.full(len(embedding), -1, dtype=np.int64)
    vectors = embedding[scorable].astype(np.float32)
    if not len(vectors):
        return labels
    count = min(num_clusters, len(_different(vectors)))
    kind = MiniBatchKMeans if len(vectors) >= MINI_BATCHES_FROM else KMeans
    found = kind(n_clusters=count, n_init=1, random_state=seed % 2**32).fit(vectors)
    labels[scorable] = found.labels_
    return labels


def _different(vectors: np.ndarray) -> np.ndarray:
    """The different rows of a float32 array, as bytes."""
    rows = np.ascontiguousarray(vectors + 0.0)  # -0 becomes 0
    return np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))))


def _count_groups(labels: np.ndarray) -> int:
    return len(np.unique(labels[labels >= 0]))


def _profile(values: np.ndarray, scorable: np.ndarray, coresets: list[np.ndarray]) -> Profile:
    quantiles = [
        np.quantile(values[ids].astype(np.float64), QUANTILES)
        if len(ids)
        else np.full(len(QUANTILES), np.nan)
        for ids in [scorable, *coresets]
    ]
    return Profile(quantiles[0], np.array(quantiles[1:]).reshape(-1, len(QUANTILES)))
