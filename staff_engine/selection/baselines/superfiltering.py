"""Superfiltering: the samples whose prompts help the small model least, but do help."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.candidates import candidates
from staff_engine.selection.strata import check_scores


def select_superfiltering(
    scores: np.ndarray, ifd: np.ndarray, *, pruning_rate: float, seed: int = 0
) -> np.ndarray:
    """Select the samples with the highest IFD below 1; ties by row id.

    Other parameters, the return value and the exceptions are as in `ranked.select_random`.

    Parameters
    ----------
    scores : float (N,)
        Finite for scorable samples. The values have no effect, and neither has the seed.
    ifd : float (N,)
        Instruction-following difficulty: the perplexity of the response with its prompt, divided by that
        without it. If fewer than m samples are below 1, those from 1 on follow, the lowest first; samples
        without a finite value come last.

    Raises
    ------
    ValueError
        If the shape of `ifd` does not match.

    Notes
    -----
    Superfiltering (Li et al., ACL 2024): the IFD of a small model ranks samples as that of a large one
    does. Samples from 1 on are left out, because their prompts do not help to predict the response.
    Deviation: the small model is the run's, fine-tuned on the data; the paper uses GPT-2 as it is. The
    paper has no rule if too few samples are below 1.
    """
    scores = check_scores(scores, "scores")
    if ifd.shape != scores.shape:
        raise ValueError(f"ifd has shape {ifd.shape}; allowed: {scores.shape}, one value for each score")
    rows, size = candidates(scores, pruning_rate)
    values = ifd[rows]
    group = np.where(values < 1, 0, np.where(np.isfinite(values), 1, 2))
    within = np.where(group == 0, -values, np.where(group == 1, values, 0.0))
    return np.sort(rows[np.lexsort((rows, within, group))[:size]])
