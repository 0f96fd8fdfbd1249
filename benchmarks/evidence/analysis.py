"""The statistics of the experiment: differences between arms, their intervals, and what could be detected.

Arrays in, numbers out. A data set has S seeds; a cell is one fine-tuning. Losses are held-out losses in
nats; lower is better. Arms are paired by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq

LEVEL = 0.95
POWER = 0.8
DRAWS = 4000
"""Bootstrap samples."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval and its two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


def gap_closed(arm: np.ndarray, random: np.ndarray, full: np.ndarray) -> float:
    """Share of the way from random to the full data: 0 is as random, 1 as the full data.

    Parameters
    ----------
    arm, random, full : float (S,), (S,), (F,)
        Losses by seed. The full data may have fewer seeds.
    """
    return float((random.mean() - arm.mean()) / (random.mean() - full.mean()))


def over_tasks(values: Mapping[str, Sequence[float]]) -> Estimate:
    """The mean over tasks of the mean over each task's data sets, clustered by task.

    Student's t with one value per task. It answers what another task would show, so it needs several.

    Parameters
    ----------
    values
        Task → a value for each of its data sets.

    Raises
    ------
    ValueError
        With fewer than two tasks.
    """
    means = np.array([np.mean(each) for each in values.values()])
    if len(means) < 2:
        raise ValueError(f"{len(means)} tasks; an interval over tasks needs at least 2")
    result = stats.ttest_1samp(means, 0.0)
    interval = result.confidence_interval(LEVEL)
    return Estimate(float(means.mean()), float(interval.low), float(interval.high), float(result.pvalue))


def over_draws(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """The mean difference over these data sets, if seeds and held-out samples were drawn again.

    The bootstrap draws seeds and, independently, held-out samples, in each data set. So the interval has
    the share of the held-out sample. It says nothing about other data sets.

    Parameters
    ----------
    pairs
        For each data set, the losses of two arms: float (S, H) each, a row for each seed, a column for each
        held-out sample.
    weights
        Factor of each data set's difference; default: 1. With 1 / (random − full), the unit is the gap.
    """
    factors = np.ones(len(pairs)) if weights is None else np.asarray(weights, dtype=np.float64)
    rng = np.random.default_rng(seed)
    value, variance = 0.0, 0.0
    for (first, second), factor in zip(pairs, factors, strict=True):
        differences = (first - second) * factor  # (S, H)
        value += differences.mean() / len(pairs)
        variance += _bootstrap_variance(differences, rng) / len(pairs) ** 2
    freedom = sum(len(first) - 1 for first, _ in pairs)
    error = float(np.sqrt(variance))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error if freedom else np.nan
    p = float(2 * stats.t.sf(abs(value) / error, freedom)) if error > 0 and freedom else np.nan
    return Estimate(float(value), float(value - reach), float(value + reach), p)


def _bootstrap_variance(differences: np.ndarray, rng: np.random.Generator) -> float:
    """Variance of the mean of (S, H) differences when rows and columns are drawn with replacement.

    The variance over rows is scaled by S / (S − 1), because a bootstrap of few seeds is too narrow.
    """
    seeds, samples = differences.shape
    by_row = rng.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS) / seeds
    by_column = rng.multinomial(samples, np.full(samples, 1 / samples), DRAWS) / samples
    means = np.einsum("ds,sh,dh->d", by_row, differences, by_column, optimize=True)
    return float(means.var(ddof=1)) * seeds / max(1, seeds - 1)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values, float (n,): each at least its own, in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[order] = np.minimum(adjusted, 1.0)
    return result


def pooled_deviation(differences: Sequence[np.ndarray]) -> float:
    """Standard deviation of paired differences over seeds, pooled over arms and data sets of a task.

    Parameters
    ----------
    differences
        Float (S,) each: differences by seed. Those with fewer than two seeds do not count.
    """
    many = [each for each in differences if len(each) > 1]
    freedom = sum(len(each) - 1 for each in many)
    if not freedom:
        return float("nan")
    return float(np.sqrt(sum(((each - each.mean()) ** 2).sum() for each in many) / freedom))


def detectable(deviation: float, seeds: int, freedom: int | None = None) -> float:
    """The smallest true difference that a two-sided test at 5 % detects with 80 % power.

    Parameters
    ----------
    deviation
        Standard deviation of a paired difference.
    seeds
        Number of pairs, at least 2.
    freedom
        Degrees of freedom of the deviation; default: seeds − 1.
    """
    df = seeds - 1 if freedom is None else freedom
    reach = float(stats.t.ppf((1 + LEVEL) / 2, df))

    def power(shift: float) -> float:
        return float(stats.nct.sf(reach, df, shift))  # the other tail is below 0.001 here

    high = 1.0
    while power(high) < POWER:
        high *= 2
    shift = brentq(lambda shift: power(shift) - POWER, 0.0, high)
    return float(shift * deviation / np.sqrt(seeds))
