"""Measures of how similarly two models score the same samples, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from staff_engine.selection.agreement import FEWEST, Agreement, rank_agreement
from staff_engine.selection.strata import stratify

RESAMPLES = 500
CONFIDENCE = 0.95
HARDEST = 0.1
"""The share of the samples that counts as hardest."""


def _null_is_nan(value: Any) -> Any:
    return np.nan if value is None else value


Number = Annotated[float, BeforeValidator(_null_is_nan)]
"""A float; null in JSON, which has no NaN, is read as NaN."""


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95 % bootstrap interval; NaN if there is too little to compare."""

    value: Number
    low: Number
    high: Number


@dataclass(frozen=True)
class Likeness:
    """The similarity of two models' scores of the same samples.

    Attributes
    ----------
    samples
        Samples that both have scored.
    spearman, pearson
        Correlations of ranks and of the scores themselves, -1 to 1; higher is more similar.
    ks
        Kolmogorov–Smirnov distance of the two distributions, 0 to 1; lower is more similar.
    wasserstein
        Wasserstein distance of them, in units of a model's median; lower is more similar.
    strata
        Adjusted Rand index of the two models' strata: 1 for the same strata, 0 by chance.
    hardest
        Share of the first model's hardest tenth that is in the second's, 0 to 1; 0.1 by chance.
    """

    samples: int
    spearman: Estimate
    pearson: Estimate
    ks: Estimate
    wasserstein: Estimate
    strata: Estimate
    hardest: Estimate

    @property
    def agreement(self) -> Agreement:
        """The rank correlation alone, which the rating rests on."""
        ranks = self.spearman
        return Agreement(self.samples, ranks.value, ranks.low, ranks.high, np.nan)


def compare_scores(
    target: np.ndarray,
    candidate: np.ndarray,
    *,
    num_strata: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Likeness:
    """Measure how similarly two models score samples.

    Parameters
    ----------
    target, candidate : float (n,)
        Scores of the same samples, 0 or more; a pair with one that is not finite is left out.
    num_strata
        K: both models' scores are divided into K strata of equal width, without the hardest
        tenth, as in the method.
    seed, resamples
        Of the bootstrap.

    Notes
    -----
    The two models' units differ, so each one's scores are divided by their median before
    the distributions are compared. The intervals are percentile bootstraps over samples, with
    strata recomputed in each resample. A distance cannot be below 0, so the interval of a
    small distance can lie above it.
    """
    target, candidate = (np.asarray(scores, dtype=np.float64) for scores in (target, candidate))
    both = np.isfinite(target) & np.isfinite(candidate)
    target, candidate = target[both], candidate[both]
    ranks = correlate_ranks(target, candidate, seed=seed)
    others = _bootstrapped(
        lambda a, b: _statistics(a, b, num_strata), target, candidate, seed=seed, resamples=resamples
    )
    return Likeness(len(target), ranks, *others)


def correlate_ranks(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Estimate:
    """Spearman's rank correlation of two float (n,) arrays over the pairs in which both are finite."""
    agreement = rank_agreement(first, second, seed=seed)
    return Estimate(agreement.spearman, agreement.low, agreement.high)


def _statistics(target: np.ndarray, candidate: np.ndarray, num_strata: int) -> tuple[float, ...]:
    """Pearson, KS, Wasserstein, adjusted Rand index, share of the hardest tenth."""
    from scipy.stats import ks_2samp, wasserstein_distance
    from sklearn.metrics import adjusted_rand_score

    scaled = [scores / median if (median := np.median(scores)) else scores for scores in (target, candidate)]
    varies = target.std() > 0 and candidate.std() > 0
    labels = (_strata(scores, num_strata) for scores in (target, candidate))
    hardest = [_hardest(scores) for scores in (target, candidate)]
    return (
        float(np.corrcoef(target, candidate)[0, 1]) if varies else np.nan,
        float(ks_2samp(*scaled, method="asymp").statistic),
        float(wasserstein_distance(*scaled)),
        float(adjusted_rand_score(*labels)),
        float((hardest[0] & hardest[1]).sum() / hardest[0].sum()),
    )


def _strata(scores: np.ndarray, num_strata: int) -> np.ndarray:
    return stratify(scores, num_strata=num_strata, dropped=int(HARDEST * len(scores))).labels


def _hardest(scores: np.ndarray) -> np.ndarray:
    """Mask of the hardest tenth, at least one sample; among equal scores, the first."""
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(-scores, kind="stable")[: max(1, round(HARDEST * len(scores)))]] = True
    return mask


def _bootstrapped(
    statistics: Callable[[np.ndarray, np.ndarray], tuple[float, ...]],
    first: np.ndarray,
    second: np.ndarray,
    *,
    seed: int,
    resamples: int,
) -> list[Estimate]:
    """Each statistic with its percentile interval over resampled pairs."""
    count = len(first)
    if count < FEWEST:
        return [Estimate(np.nan, np.nan, np.nan)] * 5
    generator = np.random.default_rng(seed)
    resampled = np.array(
        [
            statistics(first[rows], second[rows])
            for rows in (generator.integers(0, count, count) for _ in range(resamples))
        ]
    )
    outside = (1 - CONFIDENCE) / 2
    ends = [_ends(column, outside) for column in resampled.T]
    return [Estimate(value, *end) for value, end in zip(statistics(first, second), ends, strict=True)]


def _ends(values: np.ndarray, outside: float) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)
