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
    held
        `spearman` with response length held constant. NaN if it is undefined; None if it was not
        measured, as in runs of older versions.
    """

    samples: int
    spearman: Estimate
    pearson: Estimate
    ks: Estimate
    wasserstein: Estimate
    strata: Estimate
    hardest: Estimate
    held: Estimate | None = None

    @property
    def agreement(self) -> Agreement:
        """The rank correlations, without and with length held; the rating rests on them."""
        plain = (self.spearman.value, self.spearman.low, self.spearman.high)
        held = () if self.held is None else (self.held.value, self.held.low, self.held.high)
        return Agreement(self.samples, *plain, np.nan, *held)


def compare_scores(
    target: np.ndarray,
    candidate: np.ndarray,
    *,
    num_strata: int,
    lengths: np.ndarray | None = None,
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
    lengths : float (n,), optional
        Response tokens of the samples, to hold constant. If None, `held` is not measured.
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
    lengths = None if lengths is None else np.asarray(lengths, dtype=np.float64)[both]
    ranks, held = correlate_ranks(target, candidate, lengths=lengths, seed=seed)
    others = _bootstrapped(
        lambda a, b: _statistics(a, b, num_strata), target, candidate, seed=seed, resamples=resamples
    )
    return Likeness(len(target), ranks, *others, held=held)


def correlate_ranks(
    first: np.ndarray, second: np.ndarray, *, lengths: np.ndarray | None = None, seed: int = 0
) -> tuple[Estimate, Estimate | None]:
    """Spearman's rank correlation of two float (n,) arrays, without and with lengths held constant.

    Only rows with all values finite count. The second estimate is None without `lengths`, float (n,).
    """
    agreement = rank_agreement(first, second, lengths=lengths, seed=seed)
    plain = Estimate(agreement.spearman, agreement.low, agreement.high)
    held = Estimate(agreement.partial, agreement.partial_low, agreement.partial_high)
    return plain, None if lengths is None else held


def _statistics(target: np.ndarray, candidate: np.ndarray, num_strata: int) -> tuple[float, ...]:
    """Pearson, KS, Wasserstein, adjusted Rand index, share of the hardest tenth.

    The bootstrap calls this many thousand times with few samples. The functions of scipy and
    scikit-learn, with which the tests compare it, take several times as long: they check their input.
    """
    scaled = [
        np.sort(scores / median if (median := np.median(scores)) else scores)
        for scores in (target, candidate)
    ]
    varies = target.std() > 0 and candidate.std() > 0
    labels = [_strata(scores, num_strata) for scores in (target, candidate)]
    hardest = [_hardest(scores) for scores in (target, candidate)]
    return (
        float(np.corrcoef(target, candidate)[0, 1]) if varies else np.nan,
        _ks(*scaled),
        float(np.abs(scaled[0] - scaled[1]).mean()),  # Wasserstein, for equally many of both
        _adjusted_rand(labels[0], labels[1], num_strata),
        float((hardest[0] & hardest[1]).sum() / hardest[0].sum()),
    )


def _ks(first: np.ndarray, second: np.ndarray) -> float:
    """Greatest difference of the cumulative distributions of two sorted float (n,) arrays."""
    shares = (
        np.searchsorted(each, points, side="right") / len(each)
        for points in [np.concatenate([first, second])]
        for each in (first, second)
    )
    return float(np.abs(np.subtract(*shares)).max())


def _adjusted_rand(first: np.ndarray, second: np.ndarray, num_strata: int) -> float:
    """Adjusted Rand index of two labellings with -1 to num_strata - 1; 1 if no two samples can differ."""
    groups = num_strata + 1
    table = np.bincount((first + 1) * groups + second + 1, minlength=groups**2).reshape(groups, groups)
    both, rows, columns, every = (
        (counts * (counts - 1)).sum()
        for counts in (table, table.sum(axis=1), table.sum(axis=0), np.array([len(first)]))
    )
    expected, most = rows * columns / every, (rows + columns) / 2
    return float((both - expected) / (most - expected)) if most > expected else 1.0


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
