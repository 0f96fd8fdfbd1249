"""CCS: as many samples from each stratum of the score, after the hardest are cut off."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.baselines.candidates import BETA, check_beta
from staff_engine.selection.coreset import select_coreset

CCS_STRATA = 50
"""K of CCS, its paper's; STAFF's is set by its plan."""


def select_ccs(
    scores: np.ndarray,
    *,
    pruning_rate: float,
    seed: int = 0,
    num_strata: int = CCS_STRATA,
    beta: float = BETA,
) -> np.ndarray:
    """Draw as many samples from each stratum of the score, after the hardest are cut off.

    Parameters and what is returned and raised are those of `ranked.select_random`, and:

    Parameters
    ----------
    scores : float (N,)
        Higher is harder: effort here; the paper has AUM, forgetting, EL2N and others.
    num_strata : int
        K, 1 to 10,000.
    beta : float
        β, the fraction of the hardest that is left out first, 0 or more and below 1; less where
        the coreset needs the samples.

    Notes
    -----
    Coverage-centric coreset selection (Zheng et al., ICLR 2023), Algorithm 1: strata of equal
    width, K = 50; the smallest is served first, and each gets ⌊left / strata to serve⌋, at most
    its size. The paper finds β by grid for each data set and pruning rate (the example of its
    released code: 0.3 at 90 % on CIFAR-10); here it is one value. Deviation: the hardest are those
    of the score that is stratified; the released code cuts by AUM whatever that is. STAFF's
    released code runs CCS on EL2N and cuts nothing. Here it is STAFF with every
    verification ratio 1, and draws by the same priorities: where both give a stratum the same
    number, they take the same samples.
    """
    check_beta(beta)
    return select_coreset(
        scores, pruning_rate=pruning_rate, num_strata=num_strata, drop_hardest=beta, seed=seed
    ).indices
