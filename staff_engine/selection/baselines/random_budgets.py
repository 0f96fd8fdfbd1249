"""Random coresets whose budget is not a number of samples: equal tokens, equal time."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.candidates import candidates
from staff_engine.selection.baselines.ranked import random_order
from staff_engine.selection.strata import check_scores


def select_random_tokens(
    scores: np.ndarray, response_tokens: np.ndarray, *, tokens: float, seed: int = 0
) -> np.ndarray:
    """Draw samples at random until their responses have a number of tokens in total.

    Parameters
    ----------
    scores : float (N,)
        A value that is not finite marks an unscorable sample, which is never selected.
    response_tokens : float (N,)
        Response tokens of each sample, 0 or more, finite where the score is finite.
    tokens : float
        The number to reach. If all samples have fewer tokens, all are selected.
    seed : int
        0 to 2**63 - 1.

    Returns
    -------
    int64
        Row ids, ascending, each once, at least one. Without the last sample that is drawn, they have
        fewer than `tokens` tokens. The draw is that of `ranked.select_random`: one is part of the other.

    Raises
    ------
    DatasetError
        If no score is finite.
    PlanError
        If the seed is out of range.
    ValueError
        If scores are negative, or the shapes of the arrays do not match.
    """
    scores = check_scores(scores, "scores")
    if response_tokens.shape != scores.shape:
        raise ValueError(
            f"response_tokens has shape {response_tokens.shape}; allowed: {scores.shape}, one for each score"
        )
    candidates(scores, 0.0)  # raises if there are none
    drawn = random_order(scores, seed)
    reached = np.searchsorted(np.cumsum(response_tokens[drawn]), tokens)
    return np.sort(drawn[: reached + 1])


def select_random_extra(scores: np.ndarray, *, pruning_rate: float, extra: int, seed: int = 0) -> np.ndarray:
    """Draw more samples at random than the pruning rate keeps.

    Parameters, return value and exceptions are as in `ranked.select_random`, except:

    Parameters
    ----------
    extra : int
        Number of samples to draw beyond m, 0 or more. At most all scorable samples are selected.
    """
    scores = check_scores(scores, "scores")
    _, size = candidates(scores, pruning_rate)
    return np.sort(random_order(scores, seed)[: size + extra])
