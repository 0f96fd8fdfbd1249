"""Several coresets of the same data: how similar they are, and how much of the data they cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CLUSTERS = 50
"""Number of clusters of embeddings: the same as the default number of strata."""

MINI_BATCHES_FROM = 20_000
"""From this number of samples on, k-means uses mini-batches."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Profile:
    """The distribution of a column in all samples and in each coreset."""

    everything: np.ndarray
    """float64 (q,): its `QUANTILES` over all scorable samples; NaN if there are none."""
    coresets: np.ndarray
    """float64 (c, q): the same for each coreset."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """A comparison of c coresets, in the order of `names`."""

    names: tuple[str, ...]
    sizes: np.ndarray
    """int64 (c,): number of samples."""
    jaccard: np.ndarray
    """float64 (c, c): samples in both divided by samples in either; 0: none shared, 1: equal coresets."""
    strata: np.ndarray
    """float64 (c,): share of the non-empty strata from which the coreset has a sample, 0 to 1."""
    clusters: np.ndarray
    """float64 (c,): the same for clusters of embeddings; NaN without embeddings."""
    num_strata: int
    """Number of non-empty strata."""
    num_clusters: int
    """Number of non-empty clusters."""
    lengths: Profile
    """Response lengths in tokens."""
    losses: Profile
    """Losses on the model that computed the scores, in nats per token."""


def measure_coverage(
    coresets: Mapping[str, np.ndarray],
    *,
    strata: np.ndarray,
    clusters: np.ndarray | None,
    lengths: np.ndarray,
    losses: np.ndarray,
) -> Coverage:
    """Compare coresets of the same N samples.

    Parameters
    ----------
    coresets
        Name → row ids, int64 (m,), each once.
    strata : int (N,)
        Stratum of each sample; below 0 if it is in none.
    clusters : int (N,)
        Cluster of each sample, from `cluster_embeddings`; None without embeddings.
    lengths : int (N,)
        Response tokens.
    losses : float (N,)
        NaN marks an unscorable sample, which is left out of the profiles of all samples. If all are
        NaN, no model has measured them, and the samples with a length count.
    """
    chosen = list(coresets.values())
    measured = np.isfinite(losses)
    scorable = np.flatnonzero(measured if measured.any() else lengths > 0)
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
    """Jaccard index of every two coresets, float64 (c, c): samples in both divided by samples in either.

    Parameters
    ----------
    coresets
        Row ids, 0 to total - 1, each once. The index of two empty coresets is 0.
    """
    indices = np.eye(len(coresets))
    inside = np.zeros(total, dtype=bool)
    for i, first in enumerate(coresets):
        inside[:] = False
        inside[first] = True
        for j in range(i):
            shared = int(np.count_nonzero(inside[coresets[j]]))
            indices[i, j] = indices[j, i] = shared / max(len(first) + len(coresets[j]) - shared, 1)
    return indices


def share_reached(groups: np.ndarray, ids: np.ndarray) -> float:
    """Share of the groups that contain one of the row ids; NaN without groups.

    `groups`, int (N,), has the group of each sample, below 0 if it is in none.
    """
    total = _count_groups(groups)
    return _count_groups(groups[ids]) / total if total else float("nan")


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
        Seed for the first centres. The clusters depend on it.
    num_clusters : int
        Fewer are used if there are fewer distinct embeddings.

    Returns
    -------
    int64 (N,)
        Cluster of each sample; -1 if it is not scorable.

    Notes
    -----
    scikit-learn's k-means with Lloyd's algorithm, or with mini-batches from `MINI_BATCHES_FROM`
    samples on. Euclidean distance, one start with k-means++.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    labels = np.full(len(embedding), -1, dtype=np.int64)
    vectors = embedding[scorable].astype(np.float32)
    if not len(vectors):
        return labels
    count = min(num_clusters, len(_different(vectors)))
    kind = MiniBatchKMeans if len(vectors) >= MINI_BATCHES_FROM else KMeans
    fitted = kind(n_clusters=count, n_init=1, random_state=seed % 2**32).fit(vectors)
    labels[scorable] = fitted.labels_
    return labels


def _different(vectors: np.ndarray) -> np.ndarray:
    """The distinct rows of a float32 array, as bytes."""
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
