"""Middle perplexity: the samples whose losses are in the middle of all losses."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.candidates import candidates
from staff_engine.selection.strata import check_scores


def select_perplexity(loss: np.ndarray, *, pruning_rate: float, seed: int = 0) -> np.ndarray:
    """Select the samples in the middle of the order by loss; ties by row id.

    Other parameters, the return value and the exceptions are as in `ranked.select_random`.

    Parameters
    ----------
    loss : float (N,)
        Mean loss of the response tokens, 0 or more. NaN marks an unscorable sample. The seed has no
        effect.

    Notes
    -----
    Marion et al., When Less is More (2023): rank the samples by perplexity, the exponential of the mean
    loss, and keep the lowest, middle or highest part. The middle trained best there. With n samples, the
    selected ranks start at ⌊(n − m)/2⌋. Deviations: the paper prunes pretraining data and computes the
    perplexity of whole texts on a separate reference model; here it is that of the response, given its
    prompt, on the fine-tuned model.
    """
    loss = check_scores(loss, "loss")
    rows, size = candidates(loss, pruning_rate)
    ranked = rows[np.argsort(loss[rows], kind="stable")]
    start = (len(rows) - size) // 2
    return np.sort(ranked[start : start + size])
