"""Moderate: the samples in the middle of the distances to the median embedding."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.candidates import BLOCK, candidates, check_embedding
from staff_engine.selection.strata import check_scores


def select_moderate(
    scores: np.ndarray, embedding: np.ndarray, *, pruning_rate: float, seed: int = 0
) -> np.ndarray:
    """Take the samples whose distance to the median embedding is in the middle of all distances.

    Parameters and what is returned and raised are those of `ranked.select_random`, and:

    Parameters
    ----------
    scores : float (N,)
        Says which samples are scorable; the values do not matter. The seed does not either.
    embedding : float (N, h)
        Finite where the score is.

    Notes
    -----
    Moderate coreset (Xia et al., ICLR 2023): sort by the Euclidean distance to the center of the
    class, and keep the band around the median distance, half of it on either side. Deviations: the
    center is the median, coordinate by coordinate, as in the released code, where the paper has the
    mean; there are no classes here, so all samples have one. With n samples, the band is that of
    ranks ⌊(n − m)/2⌋ on; equal distances by row id. The paper has no β.
    """
    rows, size = candidates(check_scores(scores, "scores"), pruning_rate)
    vectors = check_embedding(embedding, rows, len(scores))
    median = np.array([np.median(vectors[rows, i].astype(np.float64)) for i in range(vectors.shape[1])])
    distances = np.concatenate(
        [
            np.linalg.norm(vectors[rows[start : start + BLOCK]] - median, axis=1)
            for start in range(0, len(rows), BLOCK)
        ]
    )
    ranked = rows[np.argsort(distances, kind="stable")]
    start = (len(rows) - size) // 2
    return np.sort(ranked[start : start + size])
