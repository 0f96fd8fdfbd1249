"""The oracle: a random draw from the rows that the data itself calls clean."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.candidates import candidates
from staff_engine.selection.baselines.ranked import random_order
from staff_engine.selection.strata import check_scores


def select_oracle(scores: np.ndarray, clean: np.ndarray, *, pruning_rate: float, seed: int = 0) -> np.ndarray:
    """Draw clean samples at random, and others only if there are too few.

    Other parameters, the return value and the exceptions are as in `ranked.select_random`.

    Parameters
    ----------
    scores : float (N,)
        Finite for scorable samples. The values have no effect.
    clean : bool (N,)
        Whether nothing is wrong with the row.
    seed : int
        0 to 2**63 - 1. The draw is that of `ranked.select_random`, without the other rows.

    Raises
    ------
    ValueError
        If the shapes of the arrays do not match.

    Notes
    -----
    No method can know which rows are clean, so this is no rival. It shows what finding the wrong rows
    would be worth.
    """
    scores = check_scores(scores, "scores")
    if clean.shape != scores.shape:
        raise ValueError(f"clean has shape {clean.shape}; allowed: {scores.shape}, one for each score")
    _, size = candidates(scores, pruning_rate)
    drawn = random_order(scores, seed)
    first = np.argsort(~clean[drawn], kind="stable")
    return np.sort(drawn[first[:size]])
