"""CCS: an equal number of samples from each stratum of the score, without the hardest."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.candidates import BETA, check_beta
from staff_engine.selection.coreset import select_coreset

CCS_STRATA = 50
"""K of CCS, from its paper. STAFF's K is in the plan."""


def select_ccs(
    scores: np.ndarray,
    *,
    pruning_rate: float,
    seed: int = 0,
    num_strata: int = CCS_STRATA,
    beta: float = BETA,
) -> np.ndarray:
    """Draw an equal number of samples from each stratum of the score, without the hardest samples.

    Other parameters, the return value and the exceptions are as in `ranked.select_random`.

    Parameters
    ----------
    scores : float (N,)
        Higher is harder. Here it is effort; the paper uses AUM, forgetting, EL2N and others.
    num_strata : int
        K, 1 to 10,000.
    beta : float
        β, the fraction of the hardest samples to leave out first, 0 or more and below 1. Fewer
        are left out if the coreset needs them.

    Notes
    -----
    Coverage-centric coreset selection (Zheng et al., ICLR 2023), Algorithm 1: strata of equal
    width, K = 50. The smallest stratum is first, and each gets ⌊remaining budget / remaining
    strata⌋, at most its size. The paper chooses β by grid search for each data set and pruning rate
    (the example of its released code: 0.3 at 90 % on CIFAR-10); here it is one value. Deviation: the
    hardest samples are those with the highest score that is stratified; the released code always
    uses AUM. STAFF's released code runs CCS on EL2N and leaves nothing out. Here CCS is STAFF with
    every verification ratio 1 and draws by the same priorities: if both draw the same number of
    samples from a stratum, they draw the same samples.
    """
    check_beta(beta)
    return select_coreset(
        scores, pruning_rate=pruning_rate, num_strata=num_strata, drop_hardest=beta, seed=seed
    ).indices
