"""How well two models' scores of the same samples agree, with and without response length held constant.

Effort is the gradient norm of a mean over the response tokens, so it falls as responses get longer.
Two models can agree on it merely because both saw the same lengths. The partial rank correlation
measures the agreement that remains when length is held constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 500
LARGEST_RESAMPLE = 4_000
FEWEST = 3
"""With fewer samples, a rank correlation has no meaning."""
FEWEST_HELD = 8
"""Fewest samples for the partial correlation: the fit has three terms."""
ROUNDING = 1e-9
"""Residuals below this share of the largest value in a row are rounding errors."""


@dataclass(frozen=True)
class Agreement:
    """Correlations from -1 to 1: 1 is full agreement, 0 is none, NaN is undefined."""

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
    partial: float = np.nan
    """Rank correlation with response length held constant; NaN without lengths."""
    partial_low: float = np.nan
    """Lower end of its 95 % bootstrap interval."""
    partial_high: float = np.nan
    """Upper end."""

    @property
    def judged(self) -> tuple[float, float, float]:
        """The correlation that decides, with its interval: the partial one if lengths are known."""
        if np.isfinite(self.partial):
            return self.partial, self.partial_low, self.partial_high
        return self.spearman, self.low, self.high

    @property
    def sentence(self) -> str:
        """What the deciding correlation means, as a sentence for users."""
        value = self.judged[0]
        if not np.isfinite(value):
            return (
                f"{self.samples:,} samples scored by both models are too few or too similar for a comparison."
            )
        return next(sentence for bound, sentence in _SENTENCES if value >= bound)

    @property
    def figures(self) -> str:
        """The figures in a sentence: the correlation, without and with response length held constant."""
        samples = f"over {self.samples:,} samples that both models scored"
        plain = f"{_number(self.spearman)} (95 % interval {_number(self.low)} to {_number(self.high)})"
        if not np.isfinite(self.partial):
            return f"Rank correlation {plain} {samples}."
        held = (
            f"{_number(self.partial)} with response length held (95 % interval {_number(self.partial_low)}"
            f" to {_number(self.partial_high)})"
        )
        explained = "" if self.partial >= self.spearman / 2 else ", of which length explains most"
        return f"Rank correlation {plain}{explained}; {held}, {samples}."


_SENTENCES = (
    (0.7, "Samples that are hard for the small model are, as a rule, hard for the target too."),
    (0.4, "Samples that are hard for the small model tend to be hard for the target, with many exceptions."),
    (
        0.2,
        "Samples that are hard for the small model are only slightly more likely to be hard for the target.",
    ),
    (-0.2, "The small model's scores show almost nothing about which samples are hard for the target."),
    (
        -1.0,
        "Samples that are hard for the small model tend to be easy for the target: do not rely on its"
        " scores.",
    ),
)
"""The lowest rank correlation for which each sentence applies, and the sentence."""


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two float (n,) arrays over their finite pairs; NaN if undefined."""
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < FEWEST:
        return np.nan
    first, second = (np.asarray(values, dtype=np.float64)[both] for values in (first, second))
    return float(_spearman(first[None], second[None])[0])


def rank_agreement(
    first: np.ndarray, second: np.ndarray, *, lengths: np.ndarray | None = None, seed: int = 0
) -> Agreement:
    """Correlate two models' scores.

    Parameters
    ----------
    first, second : float (n,)
        Scores of the same samples. A pair with a value that is not finite is left out.
    lengths : float (n,), optional
        Response tokens of the samples. If given, the correlation with length held constant is
        also computed.
    seed
        Seed of the bootstrap.

    Notes
    -----
    Spearman's correlation; equal scores share their mean rank. The correlation with length held
    constant is the partial rank correlation: subtract from both models' ranks their least-squares
    fit by a quadratic in the rank of the length, then take Pearson's correlation of the residuals.
    The quadratic also removes a nonlinear relation, of which a linear fit would leave a part. If all
    lengths are equal, both correlations are the same. If length determines the ranks of a model,
    the partial correlation is undefined.

    The intervals are percentile bootstraps over samples. Above `LARGEST_RESAMPLE` samples, b of
    the n samples are drawn each time and the deviations are multiplied by √(b/n) (the m-out-of-n
    bootstrap), which bounds the time for every n.
    """
    columns = [np.asarray(values, dtype=np.float64) for values in (first, second)]
    if lengths is not None:
        columns.append(np.asarray(lengths, dtype=np.float64))
    both = np.logical_and.reduce([np.isfinite(column) for column in columns])
    columns = [column[both] for column in columns]
    count = len(columns[0])
    if count < FEWEST:
        return Agreement(count, np.nan, np.nan, np.nan, np.nan)
    plain = _estimate(_spearman, columns[:2], np.random.default_rng(seed))
    held = (np.nan,) * 3
    if lengths is not None and count >= FEWEST_HELD:
        held = _estimate(_partial_spearman, columns, np.random.default_rng(seed))
    first, second = columns[:2]
    positive = (first > 0) & (second > 0)
    pearson = (
        _correlation(np.log(first[positive])[None], np.log(second[positive])[None])[0]
        if positive.sum() >= FEWEST
        else np.nan
    )
    return Agreement(count, *plain, float(pearson), *held)


def _estimate(
    statistic: Callable[..., np.ndarray], columns: list[np.ndarray], generator: np.random.Generator
) -> tuple[float, float, float]:
    """A statistic of columns, float (n,) each, and the bounds of its bootstrap interval."""
    value = float(statistic(*(column[None] for column in columns))[0])
    if not np.isfinite(value):
        return value, np.nan, np.nan
    count = len(columns[0])
    drawn = min(count, LARGEST_RESAMPLE)
    resampled = []
    for _ in range(RESAMPLES // 50):  # in blocks: 50 × 4,000 scores stay in the processor's cache
        chosen = generator.integers(0, count, size=(50, drawn))
        resampled.append(statistic(*(column[chosen] for column in columns)))
    values = np.concatenate(resampled)
    values = values[np.isfinite(values)]
    if not len(values):
        return value, np.nan, np.nan
    low, high = np.quantile(values, [0.025, 0.975])
    shrink = np.sqrt(drawn / count)
    return (
        value,
        float(max(-1.0, value + (low - value) * shrink)),
        float(min(1.0, value + (high - value) * shrink)),
    )


def _partial_spearman(first: np.ndarray, second: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rank correlation of each row with length held constant, float (r,) of float (r, n)."""
    length = _ranks(lengths)
    residuals = (_without_fit(_ranks(values), length) for values in (first, second))
    return _correlation(*residuals)


def _without_fit(ranks: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Each row minus its least-squares fit by 1, length and length²; rounding errors become 0."""
    residual = _centred(ranks)
    scale = np.abs(residual).max(axis=1, keepdims=True)
    linear = _centred(length) / max(1, length.shape[1])  # of order 1, so that its square is too
    bend = _less(_centred(linear**2), linear)
    residual = _less(_less(residual, linear), bend)
    return np.where(np.abs(residual) > ROUNDING * scale, residual, 0.0)


def _less(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Each row minus its projection on a basis row; unchanged where the basis row is 0."""
    squares = (basis**2).sum(axis=1, keepdims=True)
    products = (values * basis).sum(axis=1, keepdims=True)
    return values - basis * np.divide(
        products, squares, out=np.zeros_like(products), where=squares > ROUNDING
    )


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=1, keepdims=True)


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
    starts = np.flatnonzero(begins)  # over all rows: the first value of a row always starts a group
    lengths = np.diff(starts, append=rows * count)
    means = starts % count + (lengths - 1) / 2
    ranks = np.empty((rows, count))
    np.put_along_axis(ranks, order, np.repeat(means, lengths).reshape(rows, count), axis=1)
    return ranks


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row; NaN where one side is constant."""
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    products = (first * second).sum(axis=1)
    return np.clip(np.divide(products, spread, out=np.full(len(spread), np.nan), where=spread > 0), -1, 1)


def _number(value: float) -> str:
    """Two decimals with a true minus sign; a dash for NaN."""
    if not np.isfinite(value):
        return "–"
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # adding 0 turns -0 into 0
