"""Facility location: the samples whose embeddings represent all samples best."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.candidates import candidates, check_embedding
from staff_engine.selection.diverse import mean_embedding, spread
from staff_engine.selection.drawing import SELECTION, priorities
from staff_engine.selection.strata import check_scores


def select_facility(
    scores: np.ndarray, embedding: np.ndarray, *, pruning_rate: float, seed: int = 0
) -> np.ndarray:
    """Select samples one by one: each adds most to how well all samples are represented.

    Other parameters, the return value and the exceptions are as in `ranked.select_random`.

    Parameters
    ----------
    scores : float (N,)
        Finite for scorable samples. The values have no effect.
    embedding : float (N, h)
        Finite where the score is finite.
    seed : int
        0 to 2**63 - 1. It breaks ties, and divides the samples into blocks if there are too many to
        compare each with each.

    Notes
    -----
    Facility location on cosine similarities, as in `diverse.spread`, which `within="diverse"` also uses
    within each stratum. Deviation: more than `diverse.BLOCK` samples are divided into blocks at random,
    and each sample represents only those of its block.
    """
    scores = check_scores(scores, "scores")
    rows, size = candidates(scores, pruning_rate)
    check_embedding(embedding, rows, len(scores))
    drawn = rows[np.argsort(priorities(seed, rows, SELECTION))]
    if size == len(rows):
        return rows
    return np.sort(spread(drawn, embedding, mean_embedding(embedding, rows), size))
