"""K-means: balanced draws from the clusters of the embeddings."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.balanced import CLUSTERS, draw_balanced
from staff_engine.selection.baselines.candidates import candidates, check_embedding
from staff_engine.selection.coverage import cluster_embeddings
from staff_engine.selection.strata import check_scores


def select_kmeans(
    scores: np.ndarray,
    embedding: np.ndarray,
    *,
    pruning_rate: float,
    seed: int = 0,
    num_clusters: int = CLUSTERS,
) -> np.ndarray:
    """Draw an equal number of samples from each cluster of the embeddings.

    Other parameters, the return value and the exceptions are as in `ranked.select_random`.

    Parameters
    ----------
    scores : float (N,)
        Finite for scorable samples. The values have no effect.
    embedding : float (N, h)
        Finite where the score is finite.
    seed : int
        0 to 2**63 - 1. The clusters and the draw depend on it.
    num_clusters : int
        1 or more. Fewer are used if there are fewer distinct embeddings.

    Notes
    -----
    Samples of similar meaning share a budget, as in the first round of kMQ (Yu et al., Diversify and
    Conquer, 2024) and in D4 (Tirumala et al., NeurIPS 2023). Other work keeps the sample nearest to the
    centroid of each of m clusters (Chang et al., ACL 2021). Balanced draws from a fixed number of
    clusters were chosen because their cost does not grow with m: 10,000 clusters of 100,000 samples take
    minutes. They also differ from S2L only in what is clustered. The budget is that of
    `balanced.draw_balanced`; kMQ weights its draw by a quality score. The clusters are those of
    `coverage.cluster_embeddings`, with mini-batches for many samples.
    """
    scores = check_scores(scores, "scores")
    rows, size = candidates(scores, pruning_rate)
    check_embedding(embedding, rows, len(scores))
    clusters = cluster_embeddings(embedding, np.isfinite(scores), seed=seed, num_clusters=num_clusters)
    return draw_balanced(rows, clusters[rows], size, seed=seed)
