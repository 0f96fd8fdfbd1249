"""Random, GraNd and EL2N: the coreset is the first m samples of an order."""

from __future__ import annotations

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.baselines.candidates import candidates
from staff_engine.selection.drawing import SELECTION, priorities
from staff_engine.selection.strata import check_scores

RANDOM_SEEDS = 2**62
"""Added to the seed of the random coreset, so that its draw is independent of STAFF's and CCS's."""


def select_random(scores: np.ndarray, *, pruning_rate: float, seed: int = 0) -> np.ndarray:
    """Draw the coreset uniformly at random, without using scores.

    Parameters
    ----------
    scores : float (N,)
        A value that is not finite marks an unscorable sample, which is never selected.
    pruning_rate : float
        Fraction of the scorable samples to remove, 0 or more and below 1.
    seed : int
        0 to 2**63 - 1.

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
        If scores are negative or not one-dimensional.

    Notes
    -----
    The draw takes the lowest of `drawing.priorities`. With the same seed, a smaller coreset is a
    subset of a larger one.
    """
    scores = check_scores(scores, "scores")
    _, size = candidates(scores, pruning_rate)
    return np.sort(random_order(scores, seed)[:size])


def random_order(scores: np.ndarray, seed: int) -> np.ndarray:
    """Row ids, int64, of all scorable samples in the order of the random draw. Raises PlanError."""
    if not 0 <= seed < 2**63:
        raise PlanError(f"seed is {seed}; allowed: 0 to 2**63 - 1")
    rows = np.flatnonzero(np.isfinite(scores))
    return rows[np.argsort(priorities((seed + RANDOM_SEEDS) % 2**63, rows, SELECTION))]


def select_grand(effort: np.ndarray, *, pruning_rate: float, seed: int = 0) -> np.ndarray:
    """Select the samples with the highest effort; ties by row id.

    Parameters, return value and exceptions are as in `select_random`. The seed has no effect.

    Notes
    -----
    GraNd (Paul et al., NeurIPS 2021, Definition 2.1): the expected norm of a sample's loss
    gradient over early weights, averaged over ten networks at initialization. Deviations: there is
    one set of weights, after fine-tuning: the small model's, or the target's as in STAFF's
    comparison. The gradient is that of the LoRA parameters that the run scores. The paper has no β.
    """
    return _greatest(effort, "effort", pruning_rate)


def select_el2n(el2n: np.ndarray, *, pruning_rate: float, seed: int = 0) -> np.ndarray:
    """Select the samples with the highest error norm; ties by row id.

    Parameters, return value and exceptions are as in `select_random`. The seed has no effect.

    Notes
    -----
    EL2N (Paul et al., NeurIPS 2021, Definition 2.3): ‖p − y‖₂ of the predicted probabilities p and
    the true one-hot y, averaged over ten networks at an early epoch. Deviations: there is one set of
    weights, as for GraNd. A sample has many tokens, so the score is the mean over the response tokens,
    each prediction compared with the next token (`scoring`). STAFF's released code uses raw logits and
    compares them with the current token. The paper has no β.
    """
    return _greatest(el2n, "el2n", pruning_rate)


def _greatest(scores: np.ndarray, name: str, pruning_rate: float) -> np.ndarray:
    scores = check_scores(scores, name)
    rows, size = candidates(scores, pruning_rate)
    return np.sort(rows[np.argsort(-scores[rows], kind="stable")[:size]])
