"""Verification: which samples the target scores, and what its scores say of each stratum."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.drawing import VERIFICATION
from staff_engine.selection.pool import Pool
from staff_engine.selection.strata import Strata, check_scores, coreset_size, count_dropped

CONFIDENCE = 0.95
PRIOR_DEGREES = 4
"""What the spread in all strata counts for, in degrees of freedom, beside a stratum's own."""
NOTHING = 1e-200
"""A share of the speculative scores up to this is none: a quotient by it could overflow."""


def draw_verification(
    speculative: np.ndarray | Pool,
    *,
    num_strata: int = 50,
    strata_by: str = "width",
    per_stratum: int = 10,
    drop_hardest: float = 0.1,
    pruning_rate: float | None = None,
    seed: int = 0,
    verified: Sequence[int] | np.ndarray = (),
    excluded: Sequence[int] | np.ndarray = (),
) -> np.ndarray:
    """Draw the samples that the target has still to score.

    Each stratum B_i is to have min(b_v, |B_i|) verified samples. Those that it has
    already count, whatever strata they were drawn for; the rest are its samples of
    lowest priority. With nothing verified that is the paper's draw, and what was
    verified once serves every later one.

    Parameters
    ----------
    speculative : float (N,)
        Effort of every sample on the small model, 0 or more; NaN where it is unscorable.
        A `Pool` of them answers faster where it is asked again.
    num_strata : int
        K, 1 to 10,000.
    strata_by : {"width", "log", "quantile"}
        How the strata are cut; see `strata.stratify`.
    per_stratum : int
        b_v, 0 or more.
    drop_hardest : float
        Fraction of the greatest scores left out, 0 or more and below 1.
    pruning_rate : float, optional
        0 or more and below 1. Where it is below `drop_hardest`, `select_coreset` drops
        fewer samples and so has other strata: given here, those are the ones drawn from.
    seed : int
        0 to 2**63 - 1.
    verified : int (n,)
        Row ids, 0 to N - 1, that the target has scored, or could not; in any order.
    excluded : int (n,)
        Row ids that are never to be verified, as those on which the target was tuned: B_i
        is then what its stratum holds beside them.

    Returns
    -------
    int64
        Row ids, ascending, none of them in `verified` or `excluded`.

    Raises
    ------
    DatasetError
        If no score is finite.
    PlanError
        If a setting is out of range.
    ValueError
        If a score is negative, or a verified or excluded row id is not one of the N.

    Notes
    -----
    STAFF (Zhang et al., ICLR 2025), Algorithm 1, where B_i* is drawn anew each time.
    """
    per_stratum = _check_per_stratum(per_stratum)
    pool = Pool.of(speculative)
    strata = strata_to_draw_from(pool, num_strata, strata_by, drop_hardest, pruning_rate)
    barred = np.unique(_check_row_ids(excluded, len(pool), "excluded"))
    have = np.setdiff1d(_check_row_ids(verified, len(pool)), barred)
    verified_of, barred_of = strata.count(have), strata.count(barred)
    missing = np.maximum(np.minimum(per_stratum, strata.sizes - barred_of) - verified_of, 0)
    queues = pool.queue_at_random(strata, seed=seed, stream=VERIFICATION)
    taken = mark_rows(np.concatenate([barred, have]), len(pool), "taken")
    # So many of a queue are sure to hold as many as are missing that are not taken.
    return queues.without(taken, reach=missing + verified_of + barred_of).first(missing)


def strata_to_draw_from(
    pool: Pool, num_strata: int, strata_by: str, drop_hardest: float, pruning_rate: float | None
) -> Strata:
    """The strata that samples are drawn from for the target; arguments as in `draw_verification`."""
    keep = 1 if pruning_rate is None else coreset_size(pool.scorable, pruning_rate)
    dropped = count_dropped(pool.scorable, drop_hardest, keep=keep)
    return pool.strata(num_strata=num_strata, by=strata_by, dropped=dropped)


def mark_rows(row_ids: Sequence[int] | np.ndarray, count: int, name: str) -> np.ndarray:
    """Bool (count,): True at some row ids. Raises ValueError, with their name, if one is no row's."""
    marked = np.zeros(count, dtype=bool)
    marked[_check_row_ids(row_ids, count, name)] = True
    return marked


def _check_per_stratum(per_stratum: int) -> int:
    try:
        count = operator.index(per_stratum)
    except TypeError:
        count = -1
    if count < 0:
        raise PlanError(f"per_stratum is {per_stratum!r}; allowed: whole numbers from 0")
    return count


def _check_row_ids(row_ids: Sequence[int] | np.ndarray, count: int, name: str = "verified") -> np.ndarray:
    ids = np.asarray(row_ids)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} row ids are {ids.dtype} of shape {ids.shape}; allowed: whole numbers, one dimension"
        )
    unknown = np.flatnonzero((ids < 0) | (ids >= count))
    if len(unknown):
        raise ValueError(f"{name} row id {ids[unknown[0]]} is unknown; allowed: 0 to {count - 1}")
    return ids.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Ratios:
    """What the verified samples say of each of K strata.

    Attributes
    ----------
    values : float64 (K,)
        V_i, 0 or more; above 1 the target finds the stratum harder than the small model
        has it, beside the other strata. 1 where no verified sample says anything.
    verified : int64 (K,)
        Samples behind each ratio.
    ignored : int
        Verified samples whose score is not finite.
    strata, speculative, verification : int64, float64, float64 (n,)
        Of the verified samples in the strata, by stratum and row id: the stratum, and
        both scores as shares of their sums.
    """

    values: np.ndarray
    verified: np.ndarray
    ignored: int
    strata: np.ndarray
    speculative: np.ndarray
    verification: np.ndarray

    def log_variances(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how uncertain ln V_i is, with the degrees of freedom of that estimate.

        Returns
        -------
        variances, degrees : float64 (K,)
            NaN and 0 where no sample is verified or a sum of scores is 0; NaN everywhere where
            no stratum has two verified samples.

        Notes
        -----
        Of the delta method: a sample's residual is S^t - V_i·S^s, and the variance of ln V_i is
        that of the residuals' mean in units of the mean S^t. Few samples estimate a variance
        badly, so each stratum's is averaged with that of all strata, which counts for
        `PRIOR_DEGREES` samples (a moderated variance, as in Smyth, Statistical Applications in
        Genetics and Molecular Biology 2004, with the prior's weight fixed).
        """
        count = len(self.values)
        target = np.bincount(self.strata, self.verification, count)
        known = (target > NOTHING) & (np.bincount(self.strata, self.speculative, count) > NOTHING)
        residuals = self.verification - self.values[self.strata] * self.speculative
        squares = np.bincount(self.strata, residuals**2, count)
        own = np.where(known, self.verified - 1, 0)
        # The variance of one sample's residual in units of the stratum's mean S^t, times `own`.
        relative = np.divide(squares * self.verified**2, target**2, out=np.zeros(count), where=known)
        variances, degrees = np.full(count, np.nan), np.zeros(count)
        if own.sum():
            pooled = relative[known].sum() / own.sum()
            degrees[known] = PRIOR_DEGREES + own[known]
            moderated = (PRIOR_DEGREES * pooled + relative[known]) / degrees[known]
            variances[known] = moderated / self.verified[known]
        return variances, degrees

    def intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the 95 % interval of each ratio: Student's, on the logarithm, moderated variances.

        The scale, which all strata share, is held.

        Returns
        -------
        low, high : float64 (K,)
            NaN where fewer than 2 samples are verified or a sum of scores is 0.

        Notes
        -----
        A percentile bootstrap of 3 or 10 samples holds the true ratio 0.7 or 0.88 of the time,
        this one about 0.95: `tests/selection/test_verification.py` simulates it. The paper gives
        no intervals.
        """
        from scipy.special import stdtrit  # the quantile of Student's t

        variances, degrees = self.log_variances()
        known = np.isfinite(variances) & (self.verified > 1)
        low, high = np.full((2, len(self.values)), np.nan)
        reach = np.exp(stdtrit(degrees[known], 0.5 + CONFIDENCE / 2) * np.sqrt(variances[known]))
        low[known], high[known] = self.values[known] / reach, self.values[known] * reach
        return low, high


def verification_ratios(
    strata: Strata,
    speculative: np.ndarray,
    verified_ids: Sequence[int] | np.ndarray,
    verified_scores: Sequence[float] | np.ndarray,
) -> Ratios:
    """Return the ratio V_i = ΣS^t / ΣS^s of each stratum's verified samples, scaled.

    Parameters
    ----------
    strata : Strata
        K strata of N samples.
    speculative : float64 (N,)
        Effort on the small model.
    verified_ids : int (n,)
        Row ids, 0 to N - 1, each once, in any order.
    verified_scores : float (n,)
        Their effort on the target, 0 or more; what is not finite is ignored.

    Raises
    ------
    ValueError
        If there are not as many row ids as scores, a row id is unknown or given twice,
        or a score is negative.

    Notes
    -----
    The paper's V_i is divided by the same quotient over all verified samples in the
    strata: the units of the two models cancel. A stratum's ratio is 1 if none of its
    samples is verified or their speculative scores sum to 0, and every ratio is 1 if
    the verified samples' scores on one of the models sum to 0.
    """
    ids = _check_row_ids(verified_ids, len(speculative))
    scores = check_scores(verified_scores, "verified_scores")
    if len(ids) != len(scores):
        raise ValueError(f"{len(ids)} verified row ids have {len(scores)} scores; allowed: one each")
    finite = np.isfinite(scores)
    order = _by_stratum(strata.labels[ids], ids)
    order = order[finite[order] & (strata.labels[ids[order]] >= 0)]
    stratum = strata.labels[ids[order]].astype(np.int64)
    small, target = _shares(speculative[ids[order]], scores[order])
    count = len(strata.sizes)
    return Ratios(
        values=ratio_of_sums(np.bincount(stratum, target, count), np.bincount(stratum, small, count)),
        verified=np.bincount(stratum, minlength=count),
        ignored=int(np.count_nonzero(~finite)),
        strata=stratum,
        speculative=small,
        verification=target,
    )


def _by_stratum(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Order by stratum and row id: a sum of floats, and so a ratio, depends on the order."""
    by_row = np.argsort(ids, kind="stable")
    again = np.flatnonzero(np.diff(ids[by_row]) == 0)
    if len(again):
        raise ValueError(f"verified row id {ids[by_row][again[0]]} is given twice; allowed: once")
    return by_row[np.argsort(labels[by_row], kind="stable")]


def _shares(speculative: np.ndarray, verification: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as shares of their sums; zeros if a sum is 0, as there is no ratio then."""
    # By a power of 2, which is exact, to at most 1: no sum overflows.
    both = [np.ldexp(scores, -np.frexp(scores.max(initial=0))[1]) for scores in (speculative, verification)]
    sums = [scores.sum() for scores in both]
    if not all(sums):
        return np.zeros(len(speculative)), np.zeros(len(verification))
    return both[0] / sums[0], both[1] / sums[1]


def ratio_of_sums(verification: np.ndarray, speculative: np.ndarray) -> np.ndarray:
    """Their quotient, and 1 where the speculative scores sum to nothing and there is none."""
    ratio = np.ones(verification.shape)
    np.divide(verification, speculative, out=ratio, where=speculative > NOTHING)
    return ratio
