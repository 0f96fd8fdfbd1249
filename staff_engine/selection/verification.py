"""Verification: the samples that the target scores, and the ratio of each stratum from its scores."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.cuts.cut import cut
from staff_engine.selection.drawing import VERIFICATION
from staff_engine.selection.pool import Pool
from staff_engine.selection.strata import Strata, check_scores, coreset_size

CONFIDENCE = 0.95
WIDEST = 50.0
"""The logarithm of the factor that an interval reaches at most: beyond it, floats would overflow."""
PRIOR_DEGREES = 4
"""Weight of the pooled variance of all strata, in degrees of freedom."""
NOTHING = 1e-200
"""Shares of the scores up to this count as 0, because a quotient by them could overflow."""


def draw_verification(
    speculative: np.ndarray | Pool,
    *,
    num_strata: int = 50,
    strata_by: str = "width",
    per_stratum: int | np.ndarray = 10,
    drop_hardest: float = 0.1,
    drop_scores: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    pruning_rate: float | None = None,
    seed: int = 0,
    verified: Sequence[int] | np.ndarray = (),
    excluded: Sequence[int] | np.ndarray = (),
) -> np.ndarray:
    """Draw the samples that the target still has to score.

    Each stratum B_i needs min(b_v, |B_i|) verified samples. Samples that are already verified
    count, even if they were drawn for other strata. The rest are the samples of lowest priority in
    the stratum. If nothing is verified yet, this is the paper's draw. Verified samples are used
    again in every later draw.

    Parameters
    ----------
    speculative : float (N,)
        Effort of every sample on the small model, 0 or more; NaN if it is unscorable.
        Pass a `Pool` of the scores to draw repeatedly: later calls are faster.
    num_strata : int
        K, 1 to 10,000.
    strata_by : {"width", "log", "quantile"}
        How the score is divided into strata; see `strata.stratify`.
    per_stratum : int or int (K,)
        b_v, 0 or more; an array has one value for each stratum.
    drop_hardest : float
        Fraction of the highest scores to leave out, 0 or more and below 1.
    drop_scores, groups
        As in `coreset.select_coreset`: another score for the hardest, and groups of near duplicates.
    pruning_rate : float, optional
        0 or more and below 1. If the coreset of this rate needs some of the hardest samples,
        `select_coreset` drops fewer and has other strata. Then the draw uses these strata.
    seed : int
        0 to 2**63 - 1.
    verified : int (n,)
        Row ids, 0 to N - 1, that the target has scored or failed to score, in any order.
    excluded : int (n,)
        Row ids that must never be verified, for example those on which the target was tuned.
        They do not count as members of B_i.

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
        If a score is negative, or a verified or excluded row id is out of range.

    Notes
    -----
    STAFF (Zhang et al., ICLR 2025), Algorithm 1. There, B_i* is drawn again each time.
    """
    pool = Pool.of(speculative)
    rest, strata = strata_to_draw_from(
        pool,
        num_strata=num_strata,
        strata_by=strata_by,
        drop_hardest=drop_hardest,
        drop_scores=drop_scores,
        groups=groups,
        pruning_rate=pruning_rate,
    )
    per_stratum = _check_per_stratum(per_stratum, len(strata.sizes))
    barred = np.unique(_check_row_ids(excluded, len(pool), "excluded"))
    have = np.setdiff1d(_check_row_ids(verified, len(pool)), barred)
    verified_of, barred_of = strata.count(have), strata.count(barred)
    missing = np.maximum(np.minimum(per_stratum, strata.sizes - barred_of) - verified_of, 0)
    return rest.first_at_random(
        strata, missing, seed=seed, stream=VERIFICATION, taken=np.concatenate([barred, have])
    )


def strata_to_draw_from(
    pool: Pool, *, num_strata: int, strata_by: str, pruning_rate: float | None, **cuts: Any
) -> tuple[Pool, Strata]:
    """The samples that can be drawn for the target, and their strata; arguments as in `draw_verification`."""
    keep = 1 if pruning_rate is None else coreset_size(pool.scorable, pruning_rate)
    left = cut(pool, keep=keep, **cuts)
    return left.pool, left.pool.strata(num_strata=num_strata, by=strata_by, dropped=left.dropped)


def mark_rows(row_ids: Sequence[int] | np.ndarray, count: int, name: str) -> np.ndarray:
    """Bool (count,): True at the given row ids. Raises ValueError, with `name`, if one is out of range."""
    marked = np.zeros(count, dtype=bool)
    marked[_check_row_ids(row_ids, count, name)] = True
    return marked


def _check_per_stratum(per_stratum: int | np.ndarray, strata: int) -> int | np.ndarray:
    if isinstance(per_stratum, np.ndarray):
        whole = per_stratum.dtype.kind in "iu" and per_stratum.shape == (strata,)
        if not whole or (per_stratum < 0).any():
            raise PlanError(
                f"per_stratum is {per_stratum.dtype} of shape {per_stratum.shape}; allowed: integers from 0,"
                f" one for each of {strata} strata"
            )
        return per_stratum
    try:
        count = operator.index(per_stratum)
    except TypeError:
        count = -1
    if count < 0:
        raise PlanError(f"per_stratum is {per_stratum!r}; allowed: integers from 0")
    return count


def _check_row_ids(row_ids: Sequence[int] | np.ndarray, count: int, name: str = "verified") -> np.ndarray:
    ids = np.asarray(row_ids)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} row ids are {ids.dtype} of shape {ids.shape}; allowed: integers, one dimension"
        )
    unknown = np.flatnonzero((ids < 0) | (ids >= count))
    if len(unknown):
        raise ValueError(f"{name} row id {ids[unknown[0]]} is unknown; allowed: 0 to {count - 1}")
    return ids.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Ratios:
    """The verification ratios of K strata, and the verified samples behind them.

    Attributes
    ----------
    values : float64 (K,)
        V_i, 0 or more. Above 1, the stratum is harder for the target than for the small model,
        relative to the other strata. 1 if there is no information from verified samples.
    verified : int64 (K,)
        Number of verified samples of each stratum.
    ignored : int
        Number of verified samples whose score is not finite.
    strata, speculative, verification : int64, float64, float64 (n,)
        For the verified samples in the strata, in the order of stratum and row id: the stratum,
        and both scores as shares of their sums.
    """

    values: np.ndarray
    verified: np.ndarray
    ignored: int
    strata: np.ndarray
    speculative: np.ndarray
    verification: np.ndarray

    def log_variances(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the variance of ln V_i, with the degrees of freedom of this estimate.

        Returns
        -------
        variances, degrees : float64 (K,)
            NaN and 0 if no sample is verified or a sum of scores is 0. All variances are NaN if
            no stratum has two verified samples.

        Notes
        -----
        By the delta method: the residual of a sample is S^t - V_i·S^s, and the variance of ln V_i is
        that of the mean residual in units of the mean S^t. An estimate from few samples is
        unreliable, so the variance of each stratum is averaged with that of all strata, which has
        the weight of `PRIOR_DEGREES` samples (a moderated variance, as in Smyth, Statistical
        Applications in Genetics and Molecular Biology 2004, with a fixed weight of the prior).
        """
        count = len(self.values)
        target = np.bincount(self.strata, self.verification, count)
        known = (target > NOTHING) & (np.bincount(self.strata, self.speculative, count) > NOTHING)
        # In units of the stratum's mean S^t, before they are squared: the square of a tiny sum is 0.
        unit = np.divide(self.verified, target, out=np.zeros(count), where=known)
        residuals = self.verification - self.values[self.strata] * self.speculative
        relative = np.bincount(self.strata, (residuals * unit[self.strata]) ** 2, count)
        own = np.where(known, self.verified - 1, 0)
        variances, degrees = np.full(count, np.nan), np.zeros(count)
        if own.sum():
            pooled = relative[known].sum() / own.sum()
            degrees[known] = PRIOR_DEGREES + own[known]
            moderated = (PRIOR_DEGREES * pooled + relative[known]) / degrees[known]
            variances[known] = moderated / self.verified[known]
        return variances, degrees

    def intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the 95 % interval of each ratio: Student's t on the logarithm, with moderated variances.

        The scale, which all strata share, is treated as fixed.

        Returns
        -------
        low, high : float64 (K,)
            NaN if fewer than 2 samples are verified or a sum of scores is 0.

        Notes
        -----
        The interval of a percentile bootstrap with 3 or 10 samples includes the true ratio in 70 %
        or 88 % of cases, this one in about 95 %: `tests/selection/test_verification.py` simulates
        it. The paper has no intervals.
        """
        from scipy.special import stdtrit  # the quantile of Student's t

        variances, degrees = self.log_variances()
        known = np.isfinite(variances) & (self.verified > 1)
        low, high = np.full((2, len(self.values)), np.nan)
        spread = stdtrit(degrees[known], 0.5 + CONFIDENCE / 2) * np.sqrt(variances[known])
        reach = np.exp(np.minimum(spread, WIDEST))
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
        Their effort on the target, 0 or more. Values that are not finite are ignored.

    Raises
    ------
    ValueError
        If the numbers of row ids and scores differ, a row id is unknown or given twice, or a
        score is negative.

    Notes
    -----
    The paper's V_i is divided by the same quotient over all verified samples in the
    strata, so the units of the two models cancel. The ratio of a stratum is 1 if none of its
    samples is verified or their speculative scores sum to 0. Every ratio is 1 if the
    scores of the verified samples sum to 0 on one of the models.
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
    """Order by stratum and row id, because a sum of floats, and so a ratio, depends on the order."""
    by_row = np.argsort(ids, kind="stable")
    again = np.flatnonzero(np.diff(ids[by_row]) == 0)
    if len(again):
        raise ValueError(f"verified row id {ids[by_row][again[0]]} is given twice; allowed: once")
    return by_row[np.argsort(labels[by_row], kind="stable")]


def _shares(speculative: np.ndarray, verification: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both scores as shares of their sums; zeros if a sum is 0, because then there is no ratio."""
    # Scale by a power of 2, which is exact, to at most 1, so that no sum overflows.
    both = [np.ldexp(scores, -np.frexp(scores.max(initial=0))[1]) for scores in (speculative, verification)]
    sums = [scores.sum() for scores in both]
    if not all(sums):
        return np.zeros(len(speculative)), np.zeros(len(verification))
    return both[0] / sums[0], both[1] / sums[1]


def ratio_of_sums(verification: np.ndarray, speculative: np.ndarray) -> np.ndarray:
    """The quotient; 1 where the speculative scores sum to 0 and there is none."""
    ratio = np.ones(verification.shape)
    np.divide(verification, speculative, out=ratio, where=speculative > NOTHING)
    return ratio
