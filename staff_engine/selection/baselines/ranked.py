"""What STAFF is measured against: other methods' coresets, from the scores that a run has already.

D2 Pruning has a module of its own, `d2`; all six are called alike, and each says its source.
"""

from __future__ import annotations

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.coreset import select_coreset
from staff_engine.selection.drawing import SELECTION, priorities
from staff_engine.selection.strata import check_scores, coreset_size, count_dropped, count_scorable

BETA = 0.1
"""Fraction of the hardest that CCS and D2 leave out where nothing is said: what STAFF leaves out."""

CCS_STRATA = 50
"""K of CCS, its paper's; STAFF's is set by its plan."""

RANDOM_SEEDS = 2**62
"""Added to the seed of the random coreset, so that it shares no draw with STAFF and CCS."""

BLOCK = 8_192
"""Embeddings in memory at a time, in double precision."""


def select_random(scores: np.ndarray, *, pruning_rate: float, seed: int = 0) -> np.ndarray:
    """Draw the coreset without looking at scores; every sample is as likely as any other.

    Parameters
    ----------
    scores : float (N,)
        What is not finite marks an unscorable sample, which is never chosen.
    pruning_rate : float
        Fraction of the scorable samples that is removed, 0 or more and below 1.
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
    The draw takes the lowest of `drawing.priorities`: with the same seed a smaller coreset is
    part of a larger one.
    """
    rows, size = candidates(check_scores(scores, "scores"), pruning_rate)
    if not 0 <= seed < 2**63:
        raise PlanError(f"seed is {seed}; allowed: 0 to 2**63 - 1")
    drawn = np.argsort(priorities((seed + RANDOM_SEEDS) % 2**63, rows, SELECTION))
    return np.sort(rows[drawn[:size]])


def select_grand(effort: np.ndarray, *, pruning_rate: float, seed: int = 0) -> np.ndarray:
    """Take the samples of the greatest effort; equal ones by row id.

    Parameters and what is returned and raised are those of `select_random`; the seed changes
    nothing.

    Notes
    -----
    GraNd (Paul et al., NeurIPS 2021, Definition 2.1): the expected norm of a sample's loss
    gradient over early weights, averaged over ten networks at initialization. Deviations: one set
    of weights, after fine-tuning: the small model's, or the target's as in STAFF's comparison; the
    gradient is that of the LoRA parameters that the run scores. The paper has no β.
    """
    return _greatest(effort, "effort", pruning_rate)


def select_el2n(el2n: np.ndarray, *, pruning_rate: float, seed: int = 0) -> np.ndarray:
    """Take the samples of the greatest error norm; equal ones by row id.

    Parameters and what is returned and raised are those of `select_random`; the seed changes
    nothing.

    Notes
    -----
    EL2N (Paul et al., NeurIPS 2021, Definition 2.3): ‖p − y‖₂ of the predicted probabilities p and
    the true one-hot y, averaged over ten networks at an early epoch. Deviations: one set of
    weights, as for GraNd; a sample has many tokens, so it is the mean over the response tokens, each
    prediction against the token that follows (`scoring`). The released code of STAFF takes raw
    logits, against the token that is read. The paper has no β.
    """
    return _greatest(el2n, "el2n", pruning_rate)


def select_ccs(
    scores: np.ndarray,
    *,
    pruning_rate: float,
    seed: int = 0,
    num_strata: int = CCS_STRATA,
    beta: float = BETA,
) -> np.ndarray:
    """Draw as many samples from each stratum of the score, after the hardest are cut off.

    Parameters and what is returned and raised are those of `select_random`, and:

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
    _check_beta(beta)
    return select_coreset(
        scores, pruning_rate=pruning_rate, num_strata=num_strata, drop_hardest=beta, seed=seed
    ).indices


def select_moderate(
    scores: np.ndarray, embedding: np.ndarray, *, pruning_rate: float, seed: int = 0
) -> np.ndarray:
    """Take the samples whose distance to the median embedding is in the middle of all distances.

    Parameters and what is returned and raised are those of `select_random`, and:

    Parameters
    ----------
    scores : float (N,)
        Says which samples are scorable; the values do not matter. The seed does not either.
    embedding : float (N, h)
        Finite where the score is.

    Notes
    -----
    Moderate coreset (Xia et al., ICLR 2023): sort by the Euclidean distance to the center of the
    class, and keep the band around the median distance, half of it on either side. Deviations: the
    center is the median, coordinate by coordinate, as in the released code, where the paper has the
    mean; there are no classes here, so all samples have one. With n samples, the band is that of
    ranks ⌊(n − m)/2⌋ on; equal distances by row id. The paper has no β.
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


def candidates(scores: np.ndarray, pruning_rate: float) -> tuple[np.ndarray, int]:
    """Row ids, int64, of the samples with a finite score, and m, how many of them to take."""
    size = coreset_size(count_scorable(scores), pruning_rate)
    return np.flatnonzero(np.isfinite(scores)), size


def easiest(scores: np.ndarray, rows: np.ndarray, beta: float, size: int) -> np.ndarray:
    """Row ids, ascending, of what a cut of the hardest leaves: at least `size` of the rows.

    Of equal scores the one with the greater row id is cut first, as in `strata.stratify`.
    """
    _check_beta(beta)
    dropped = count_dropped(len(rows), beta, keep=size)
    ranked = rows[np.argsort(scores[rows], kind="stable")]
    return np.sort(ranked[: len(rows) - dropped])


def check_embedding(embedding: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the embeddings as they are.

    Raises
    ------
    ValueError
        If they are not (count, h), or one of those rows is not finite.
    """
    if embedding.ndim != 2 or len(embedding) != count:
        raise ValueError(
            f"embedding has shape {embedding.shape}; allowed: ({count}, h), a row for each score"
        )
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        wrong = block[~np.isfinite(embedding[block]).all(axis=1)]
        if len(wrong):
            raise ValueError(f"embedding[{wrong[0]}] is not finite; allowed: numbers where the score is one")
    return embedding


def _greatest(scores: np.ndarray, name: str, pruning_rate: float) -> np.ndarray:
    scores = check_scores(scores, name)
    rows, size = candidates(scores, pruning_rate)
    return np.sort(rows[np.argsort(-scores[rows], kind="stable")[:size]])


def _check_beta(beta: float) -> None:
    if not 0 <= beta < 1:
        raise PlanError(f"beta is {beta}; allowed: 0 or more and below 1")
