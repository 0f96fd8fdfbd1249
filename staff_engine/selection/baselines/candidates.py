"""The input of a baseline: the scorable samples without the hardest, and checked embeddings."""

from __future__ import annotations

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.strata import coreset_size, count_dropped, count_scorable

BETA = 0.1
"""Default fraction of the hardest samples that CCS and D2 leave out: the same as STAFF's."""

BLOCK = 8_192
"""Number of embeddings in memory at a time, in double precision."""


def candidates(scores: np.ndarray, pruning_rate: float) -> tuple[np.ndarray, int]:
    """Row ids, int64, of the samples with a finite score, and m, how many to select."""
    size = coreset_size(count_scorable(scores), pruning_rate)
    return np.flatnonzero(np.isfinite(scores)), size


def easiest(scores: np.ndarray, rows: np.ndarray, beta: float, size: int) -> np.ndarray:
    """Row ids, ascending, that remain without the hardest samples: at least `size` of the rows.

    Among equal scores, the higher row id is removed first, as in `strata.stratify`.
    """
    check_beta(beta)
    dropped = count_dropped(len(rows), beta, keep=size)
    ranked = rows[np.argsort(scores[rows], kind="stable")]
    return np.sort(ranked[: len(rows) - dropped])


def check_beta(beta: float) -> None:
    """Raise PlanError if β is not a fraction below 1."""
    if not 0 <= beta < 1:
        raise PlanError(f"beta is {beta}; allowed: 0 or more and below 1")


def check_embedding(embedding: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the embeddings as they are.

    Raises
    ------
    ValueError
        If their shape is not (count, h), or one of the rows is not finite.
    """
    if embedding.ndim != 2 or len(embedding) != count:
        raise ValueError(
            f"embedding has shape {embedding.shape}; allowed: ({count}, h), one row for each score"
        )
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        wrong = block[~np.isfinite(embedding[block]).all(axis=1)]
        if len(wrong):
            raise ValueError(
                f"embedding[{wrong[0]}] is not finite; allowed: finite numbers for every sample with a score"
            )
    return embedding
