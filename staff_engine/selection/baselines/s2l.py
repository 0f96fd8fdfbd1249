"""S2L: balanced draws from the clusters of the small model's loss trajectories."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.balanced import CLUSTERS, draw_balanced
from staff_engine.selection.baselines.candidates import candidates
from staff_engine.selection.coverage import cluster_embeddings
from staff_engine.selection.strata import check_scores


def select_s2l(
    scores: np.ndarray,
    trajectories: np.ndarray,
    *,
    pruning_rate: float,
    seed: int = 0,
    num_clusters: int = CLUSTERS,
) -> np.ndarray:
    """Draw an equal number of samples from each cluster of the loss trajectories.

    Other parameters, the return value and the exceptions are as in `ranked.select_random`.

    Parameters
    ----------
    scores : float (N,)
        Finite for scorable samples. The values have no effect.
    trajectories : float (N, c)
        The loss of each sample at c checkpoints of the small model's fine-tuning, c at least 1. Values
        that are not finite count as 0.
    seed : int
        0 to 2**63 - 1. The clusters and the draw depend on it.
    num_clusters : int
        1 or more. Fewer are used if there are fewer distinct trajectories.

    Raises
    ------
    ValueError
        If the shape of the trajectories does not match, or there is no checkpoint.

    Notes
    -----
    S2L (Yang et al., NeurIPS 2024), Algorithm 1: k-means on the trajectories, then the clusters from the
    smallest to the largest, each with an equal share of what is left (`balanced.draw_balanced`).
    Deviations: the clusters are those of `coverage.cluster_embeddings` (scikit-learn, one start, with
    mini-batches for many samples); the released code uses faiss with 20 iterations. The data has no
    sources; the released code divides the budget among them first. The released code serves clusters of
    one or two samples last; the paper does not.
    """
    scores = check_scores(scores, "scores")
    rows, size = candidates(scores, pruning_rate)
    if trajectories.ndim != 2 or len(trajectories) != len(scores) or not trajectories.shape[1]:
        raise ValueError(
            f"trajectories have shape {trajectories.shape}; allowed: ({len(scores)}, c), one row for each"
            " score and at least one checkpoint"
        )
    losses = np.where(np.isfinite(trajectories), trajectories, 0.0)
    clusters = cluster_embeddings(losses, np.isfinite(scores), seed=seed, num_clusters=num_clusters)
    return draw_balanced(rows, clusters[rows], size, seed=seed)
