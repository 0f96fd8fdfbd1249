"""Two models' scores of the same samples → how well they agree, with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 500
LARGEST_RESAMPLE = 4_000
FEWEST = 3
"""With fewer samples a rank correlation says nothing."""


@dataclass(frozen=True)
class Agreement:
    """Correlations from -1 to 1; 1 is full agreement, 0 none; NaN where there is nothing to correlate."""

    samples: int
    """Samples that both models scored."""
    spearman: float
    """Rank correlation."""
    low: float
    """Lower end of its 95 % bootstrap interval."""
    high: float
    """Upper end."""
    pearson_log: float
    """Correlation of the logarithms of the scores above 0."""

    @property
    def sentence(self) -> str:
        """What the rank correlation says, for people."""
        if not np.isfinite(self.spearman):
            return f"{self.samples:,} samples scored by both are too few or too alike to compare the models."
        return next(sentence for bound, sentence in _SENTENCES if self.spearman >= bound)


_SENTENCES = (
    (0.7, "Samples that are hard for the small model are, as a rule, hard for the target too."),
    (0.4, "Samples that are hard for the small model tend to be hard for the target, with many exceptions."),
    (0.2, "What is hard for the small model says only a little about what is hard for the target."),
    (-0.2, "What is hard for the small model says next to nothing about what is hard for the target."),
    (-1.0, "What is hard for the small model tends to be easy for the target: do not rely on its scores."),
)
"""From the least rank correlation on that each holds for."""


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two float (n,) arrays, over finite pairs; NaN if it has none."""
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < FEWEST:
        return np.nan
    first, second = (np.asarray(values, dtype=np.float64)[both] for values in (first, second))
    return float(_spearman(first[None], second[None])[0])


def rank_agreement(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Agreement:
    """Correlate two models' scores.

    Parameters
    ----------
    first, second : float (n,)
        Scores of the same samples; a pair with one that is not finite is left out.
    seed
        Of the bootstrap.

    Notes
    -----
    Spearman's correlation, equal scores sharing their mean rank. The interval is the
    percentile bootstrap over samples. Above `LARGEST_RESAMPLE` samples, b of the n are
    drawn each time and the deviations shrunk by √(b/n) (the m-out-of-n bootstrap), so that
    the time is bounded whatever n is.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    count = len(first)
    if count < FEWEST:
        return Agreement(count, np.nan, np.nan, np.nan, np.nan)
    spearman = float(_spearman(first[None], second[None])[0])
    low, high = _interval(first, second, spearman, np.random.default_rng(seed))
    positive = (first > 0) & (second > 0)
    pearson = (
        _correlation(np.log(first[positive])[None], np.log(second[positive])[None])[0]
        if positive.sum() >= FEWEST
        else np.nan
    )
    return Agreement(count, spearman, low, high, float(pearson))


def _interval(
    first: np.ndarray, second: np.ndarray, estimate: float, generator: np.random.Generator
) -> tuple[float, float]:
    if not np.isfinite(estimate):
        return np.nan, np.nan
    count = len(first)
    drawn = min(count, LARGEST_RESAMPLE)
    resampled = []
    for _ in range(RESAMPLES // 50):  # in blocks: 50 × 4,000 scores stay in the processor's cache
        chosen = generator.integers(0, count, size=(50, drawn))
        resampled.append(_spearman(first[chosen], second[chosen]))
    values = np.concatenate(resampled)
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [0.025, 0.975])
    shrink = np.sqrt(drawn / count)
    return (
        float(max(-1.0, estimate + (low - estimate) * shrink)),
        float(min(1.0, estimate + (high - estimate) * shrink)),
    )


def _spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation of each row, float (r,) of float (r, n)."""
    return _correlation(_ranks(first), _ranks(second))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Mean ranks within each row, from 0, float (r, n)."""
    rows, count = values.shape
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    begins = np.ones((rows, count), dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(begins)  # over all rows: a row's first place always begins a group
    lengths = np.diff(starts, append=rows * count)
    means = starts % count + (lengths - 1) / 2
    ranks = np.empty((rows, count))
    np.put_along_axis(ranks, order, np.repeat(means, lengths).reshape(rows, count), axis=1)
    return ranks


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row; NaN where one side does not vary."""
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    products = (first * second).sum(axis=1)
    return np.clip(np.divide(products, spread, out=np.full(len(spread), np.nan), where=spread > 0), -1, 1)
