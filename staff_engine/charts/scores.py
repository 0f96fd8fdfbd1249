"""Both models' scores → their distributions, overlaid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from staff_engine.charts.score_axis import (
    MUTED,
    Units,
    chosen_range,
    faint,
    limits,
    placed,
    score_axis,
    spaced,
)
from staff_engine.charts.style import COLORS, base_figure
from staff_engine.samples.columns import SampleColumns
from staff_engine.system.words import counted

MOST_EDGES = 120
"""More strata edges than this would form a grey area, so they are not drawn."""

NAMES = {"small": "Small model", "target": "Target"}


def distribution_frame(
    columns: SampleColumns,
    units: Units,
    *,
    on: str = "verified",
    scale: str = "linear",
    mask: np.ndarray | None = None,
) -> pd.DataFrame:
    """Count the scores of both models in the same bars.

    Parameters
    ----------
    on : {"verified", "all"}
        "verified": the samples that both have scored. "all": all samples of each model; the
        target is included only if it has scored every sample that the small model has.
    scale : {"linear", "log"}
        Bars of equal width, or of equal ratio.
    mask : bool (rows,)
        The rows that pass the filter; None without a filter.

    Returns
    -------
    pandas.DataFrame
        A row for each model ("small", "target"), part ("all", and "chosen" with a mask) and
        bar: low and high, the bar's edges in medians; samples in it; share of the model's
        samples; cumulative, the share up to the bar's upper edge; beyond, samples outside the
        bars on this side, which are counted in this bar.
    """
    values = _by_model(columns, units, on)
    present = [scores[np.isfinite(scores)] for scores in values.values()]
    if not any(len(scores) for scores in present):
        return pd.DataFrame(columns=[*_KEYS, *_COUNTS])
    fewest = min(len(scores) for scores in present if len(scores))
    bars = round(np.clip(2.5 * fewest ** (1 / 3), 12, 60))
    edges = spaced(*limits(np.concatenate(present), scale), scale, bars)
    frames = []
    for model, scores in values.items():
        total = int(np.isfinite(scores).sum())
        parts = {"all": scores} if mask is None else {"all": scores, "chosen": scores[mask]}
        frames += [_count(part, edges, total, scale, model, name) for name, part in parts.items() if total]
    return pd.concat(frames, ignore_index=True)


_KEYS, _COUNTS = ("model", "part", "low", "high"), ("samples", "share", "cumulative", "beyond")


def _by_model(columns: SampleColumns, units: Units, on: str) -> dict[str, np.ndarray]:
    """Scores in medians, float (rows,), NaN if not shown."""
    small, target = columns.speculative / units.small, columns.verification / units.target
    both = columns.scorable & columns.verified
    match on:
        case "verified":
            return {"small": np.where(both, small, np.nan), "target": np.where(both, target, np.nan)}
        case "all":
            return {"small": small, "target": target} if covers_all(columns) else {"small": small}
        case _:
            raise ValueError(f"on is {on!r}; allowed: verified, all")


def covers_all(columns: SampleColumns) -> bool:
    """Whether the target has scored every sample that the small model has."""
    return bool(columns.verified.any()) and not bool((columns.scorable & ~columns.verified).any())


def _count(
    scores: np.ndarray, edges: np.ndarray, total: int, scale: str, model: str, part: str
) -> pd.DataFrame:
    scores = scores[np.isfinite(scores)]
    positions = placed(np.clip(scores, edges[0], edges[-1]), scale)
    ends = placed(edges[[0, -1]], scale)  # bars of equal width make np.histogram fast
    samples = np.histogram(positions, len(edges) - 1, (ends[0], ends[1]))[0]
    beyond = np.zeros(len(samples), dtype=np.int64)
    beyond[0] = np.count_nonzero(scores < edges[0])
    beyond[-1] += np.count_nonzero(scores > edges[-1])
    return pd.DataFrame(
        {
            "model": model,
            "part": part,
            "low": edges[:-1],
            "high": edges[1:],
            "samples": samples,
            "share": samples / total,
            "cumulative": np.cumsum(samples) / total,
            "beyond": beyond,
        }
    )


def clipped(frame: pd.DataFrame) -> list[str]:
    """Samples outside the bars of a distribution frame, as sentences."""
    sentences = []
    for model, bars in frame[frame["part"] == "all"].groupby("model", sort=True):
        for which, side, bar in (("last", "above", bars.iloc[-1]), ("first", "below", bars.iloc[0])):
            count = int(bar["beyond"]) if len(bars) > 1 else 0
            if count:
                end = bar["high" if which == "last" else "low"]
                verb = "is" if count == 1 else "are"
                samples = counted(count, "sample")
                sentences.append(
                    f"{NAMES[str(model)]}: {samples} {side} {end:.3g} {verb} in the {which} bar."
                )
    return sentences


def reading(frame: pd.DataFrame, columns: SampleColumns, units: Units) -> list[str]:
    """How to read the figure of a distribution frame, and the score shown as 1, as sentences."""
    if frame["model"].nunique() == 2:
        similar = "The more the two overlap, the more similar are the score distributions of both models."
        return [similar, _unit_in_words(units)]
    scored = columns.speculative[columns.scorable] / units.small
    lower, upper, high = np.quantile(scored, [0.25, 0.75, 0.9])
    sentences = [
        f"Half of the samples have a score from {lower:.2g} to {upper:.2g}; one in ten is above {high:.2g}."
    ]
    if units.samples:
        sentences.append(
            f"The target has scored {units.samples:,} of {len(scored):,} samples. To compare both models,"
            " show only the samples that are verified by the target."
        )
    return [*sentences, _unit_in_words(units)]


def _unit_in_words(units: Units) -> str:
    if not units.samples:
        return f"1 is the small model's median over all samples, {units.small:.3g}."
    return (
        f"1 is a model's median over the {units.samples:,} verified samples: {units.small:.3g} on the small"
        f" model, {units.target:.3g} on the target."
    )


def chosen_scores(
    frame: pd.DataFrame, bounds: Sequence[float], columns: SampleColumns, units: Units, *, scale: str
) -> tuple[float, float]:
    """The small model's scores in the bars that a box on the figure touches, in the model's own unit."""
    edges = np.append(np.unique(frame["low"]), frame["high"].max())
    return chosen_range(bounds, scale, units.small, columns.speculative, edges, whole=True)


def distribution_figure(
    frame: pd.DataFrame,
    edges: Sequence[float] | np.ndarray = (),
    *,
    unit: float = 1.0,
    scale: str = "linear",
    shape: str = "density",
    left_out: bool = False,
) -> go.Figure:
    """Both models' distributions, overlaid; samples in the filter in colour, all samples in grey.

    Parameters
    ----------
    frame
        From `distribution_frame`.
    edges, unit
        Edges of the strata, divided by the unit; drawn if there are at most `MOST_EDGES`.
    shape : {"density", "cumulative"}
        Samples in each bar, or up to its end, as a share of all samples.
    left_out
        Whether the samples above the last edge are dropped as the hardest, and marked.
    """
    title, draw = _SHAPES[shape]
    figure = base_figure(x="Score (1 = the model's median)", y=title, height=380)
    filtered = bool((frame["part"] == "chosen").any())
    for (part, model), bars in frame.groupby(["part", "model"], sort=True):
        draw(figure, bars, str(model), scale, muted=filtered and part == "all")
    figure.update_layout(barmode="overlay", bargap=0, selectdirection="h")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    low, high = frame["low"].min(), frame["high"].max()
    score_axis(figure.update_xaxes, low, high, scale)
    _add_edges(figure, np.asarray(edges) / unit, (low, high), scale, left_out)
    return figure


def _add_bars(figure: go.Figure, bars: pd.DataFrame, model: str, scale: str, *, muted: bool) -> None:
    """The small model as bars, the target as an outline, because two fills would mix into a third colour."""
    left, right = placed(bars["low"], scale), placed(bars["high"], scale)
    name, color = _look(model, muted)
    look = {
        "name": name,
        "hovertemplate": "%{customdata[0]:.3g} to %{customdata[1]:.3g}:"
        " %{customdata[2]:,} samples (%{y:.1%})",
    }
    x, y, width = (left + right) / 2, bars["share"].to_numpy(), right - left
    numbers = bars[["low", "high", "samples"]].to_numpy()
    if model == "small":
        bar = {"color": color, "opacity": 1 if muted else 0.7}
        figure.add_bar(x=x, y=y, width=width, customdata=numbers, marker=bar, **look)
        return
    figure.add_scatter(  # an invisible bar of height 0 on each side closes the outline
        x=np.concatenate([x[:1] - width[:1], x, x[-1:] + width[-1:]]),
        y=np.pad(y, 1),
        customdata=np.pad(numbers, ((1, 1), (0, 0))),
        line={"color": color, "width": 1.5 if muted else 2.5, "shape": "hvh"},
        mode="lines",
        fill=None if muted else "tozeroy",
        fillcolor=faint(color) if not muted else None,
        **look,
    )


def _add_steps(figure: go.Figure, bars: pd.DataFrame, model: str, scale: str, *, muted: bool) -> None:
    name, color = _look(model, muted)
    figure.add_scatter(
        x=placed(bars["high"], scale),
        y=bars["cumulative"],
        customdata=bars["high"],
        mode="lines+markers",
        line={"color": color, "width": 2, "dash": "dot" if muted and model == "target" else "solid"},
        marker={"size": 4},
        name=name,
        hovertemplate="up to %{customdata:.3g}: %{y:.1%}",
    )


_SHAPES = {
    "density": ("Share of samples in each bar", _add_bars),
    "cumulative": ("Share of samples up to this score", _add_steps),
}


def _look(model: str, muted: bool) -> tuple[str, str]:
    return (f"{NAMES[model]}, all samples", MUTED) if muted else (NAMES[model], COLORS[model])


def _add_edges(
    figure: go.Figure, edges: np.ndarray, ends: tuple[float, float], scale: str, left_out: bool
) -> None:
    """Thin vertical lines in one trace, on their own axis, so that their height is fixed."""
    inside = edges[(edges >= ends[0]) & (edges <= ends[1])]
    inside = inside[inside > 0] if scale == "log" else inside
    if 0 < len(inside) <= MOST_EDGES:
        figure.add_scatter(
            x=np.repeat(placed(inside, scale), 3),
            y=np.tile([0.0, 1.0, np.nan], len(inside)),
            yaxis="y2",
            mode="lines",
            line={"color": COLORS["dropped"], "width": 0.8, "dash": "dot"},
            opacity=0.6,
            name="Edges of the strata",
            hoverinfo="skip",
        )
    figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})
    if left_out and len(edges) and edges[-1] < ends[1]:
        figure.add_vrect(
            x0=float(placed(max(edges[-1], ends[0]), scale)),
            x1=float(placed(ends[1], scale)),
            fillcolor=COLORS["dropped"],
            opacity=0.14,
            line_width=0,
            layer="below",
            annotation={"text": "hardest, dropped", "font": {"size": 11}},
            annotation_position="top right",  # anchored at the end of the axis: it extends to the left
        )
