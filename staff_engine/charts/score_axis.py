"""The shared axis of scores: in medians, linear or logarithmic, with outliers at its ends.

Each model's scores are divided by that model's median over the verified samples, so that
the units of the two models cancel: 1 is a sample of median difficulty for that model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from staff_engine.samples.columns import SampleColumns

CLIP_QUANTILE = 0.995
FAR, FAR_LOG = 1.5, 4.0
"""Outliers are scores above this multiple of the quantile, on a linear and on a logarithmic axis."""

FEWEST_TICKS = 3
LOG_STEPS = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
"""Labels within a decade of a logarithmic axis, coarse to fine."""

MUTED = "rgba(138, 143, 152, 0.35)"
"""Colour of all samples, drawn behind those that pass the filter."""


@dataclass(frozen=True)
class Units:
    """The score shown as 1 on the axes: each model's median; NaN for a model without scores."""

    small: float
    target: float
    samples: int
    """The number of verified samples used; if 0, the small model's median is over all samples."""


def score_units(columns: SampleColumns) -> Units:
    """Each model's median over the samples that both have scored; for the small model alone, over all."""
    both = columns.scorable & columns.verified
    count = int(both.sum())
    small = _unit(columns.speculative[both if count else columns.scorable])
    return Units(small, _unit(columns.verification[both]), count)


def _unit(scores: np.ndarray) -> float:
    """The median, or if it is 0 the mean, or 1."""
    if not len(scores):
        return np.nan
    median = float(np.median(scores))
    return median or float(scores.mean()) or 1.0


def limits(values: np.ndarray, scale: str) -> tuple[float, float]:
    """The ends of the axis, without far outliers, which would compress all other scores into one bar."""
    return SCALES[scale].limits(values)


def _linear_limits(values: np.ndarray) -> tuple[float, float]:
    high = min(float(values.max()), float(np.quantile(values, CLIP_QUANTILE)) * FAR)
    return 0.0, high or 1.0


def _log_limits(values: np.ndarray) -> tuple[float, float]:
    positive = values[values > 0]
    if not len(positive):
        return 0.5, 2.0
    low, high = np.quantile(positive, [1 - CLIP_QUANTILE, CLIP_QUANTILE]) * [1 / FAR_LOG, FAR_LOG]
    low, high = float(max(low, positive.min())), float(min(high, positive.max()))
    return (low, high) if low < high else (low / 2, high * 2)


@dataclass(frozen=True)
class Scale:
    """How scores map to positions on an axis."""

    limits: Callable[[np.ndarray], tuple[float, float]]
    spaced: Callable[[float, float, int], np.ndarray]
    placed: Callable[[np.ndarray], np.ndarray]
    scored: Callable[[np.ndarray], np.ndarray]


SCALES = {
    "linear": Scale(_linear_limits, np.linspace, lambda scores: scores, lambda positions: positions),
    "log": Scale(_log_limits, np.geomspace, np.log10, lambda positions: 10.0**positions),
}


def spaced(low: float, high: float, scale: str, count: int) -> np.ndarray:
    """Edges of bars or cells, float (count + 1,), evenly spaced on the axis."""
    edges = SCALES[scale].spaced(low, high, count + 1)
    edges[0], edges[-1] = low, high
    return edges


def placed(scores: Any, scale: str) -> np.ndarray:
    """The positions of scores on the axis; `scored` is the inverse.

    The axis is linear also for logarithms, because bars lose their widths on Plotly's log axis.
    """
    return SCALES[scale].placed(np.asarray(scores, dtype=np.float64))


def scored(positions: Any, scale: str) -> np.ndarray:
    """The scores, in medians, at positions on the axis."""
    return SCALES[scale].scored(np.asarray(positions, dtype=np.float64))


def chosen_range(
    bounds: Sequence[float], scale: str, unit: float, scores: np.ndarray, edges: np.ndarray, *, whole: bool
) -> tuple[float, float]:
    """The range of scores, in the model's own unit, that a user selected on an axis.

    Parameters
    ----------
    bounds
        Two positions on the axis, in any order.
    scores : float
        The model's scores; a range that touches an end of the axis includes the outliers beyond it.
    edges : float (n + 1,)
        Edges of the bars or cells in medians; for points, the least and the greatest score.
    whole
        Whether a touched bar or cell is selected as a whole.
    """
    low, high = scored(sorted(bounds), scale)
    if whole:
        low = edges[max(0, np.searchsorted(edges, low, side="right") - 1)]
        high = edges[min(len(edges) - 1, np.searchsorted(edges, high))]
    finite = scores[np.isfinite(scores)]
    return (
        float(finite.min() if low <= edges[0] else low * unit),
        float(finite.max() if high >= edges[-1] else high * unit),
    )


def score_axis(update: Callable[..., Any], low: float, high: float, scale: str) -> None:
    """Set an axis to a range of scores; the labels are scores on any scale."""
    if scale == "log":
        ticks = log_ticks(low, high)
        update(tickvals=np.log10(ticks), ticktext=[f"{tick:g}" for tick in ticks])
    update(range=placed([low, high], scale).tolist())


def log_ticks(low: float, high: float) -> np.ndarray:
    """Round scores from low to high, float (n,), with the coarsest steps that give `FEWEST_TICKS`."""
    if not low < high:
        return np.array([low])
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    coarse_to_fine = [np.outer(decades, steps).ravel() for steps in LOG_STEPS]
    span = 10.0 ** np.floor(np.log10(high - low))  # in a short range, a logarithm is nearly linear
    for step in span * np.array([1, 0.5, 0.2]):
        coarse_to_fine.append(step * np.arange(np.ceil(low / step), np.floor(high / step) + 1))
    for ticks in coarse_to_fine:
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) >= FEWEST_TICKS:
            break
    return ticks


def faint(color: str) -> str:
    """A translucent colour of the palette."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.2)"
