"""Moderate: the samples whose distances to the median embedding are in the middle."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.candidates import BLOCK, candidates, check_embedding
from staff_engine.selection.strata import check_scores


def select_moderate(
    scores: np.ndarray, embedding: np.ndarray, *, pruning_rate: float, seed: int = 0
) -> np.ndarray:
    """Select the samples whose distances to the median embedding are in the middle of all distances.

    Other parameters, the return value and the exceptions are as in `ranked.select_random`.

    Parameters
    ----------
    scores : float (N,)
        Finite for scorable samples. The values have no effect, and neither has the seed.
    embedding : float (N, h)
        Finite where the score is finite.

    Notes
    -----
    Moderate coreset (Xia et al., ICLR 2023): sort by the Euclidean distance to the centre of the
    class, and keep the samples around the median distance, half of them on either side. Deviations:
    the centre is the median of each coordinate, as in the released code; the paper uses the mean.
    There are no classes here, so there is one centre for all samples. With n samples, the selected
    ranks start at ⌊(n − m)/2⌋; ties by row id. The paper has no β.
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
