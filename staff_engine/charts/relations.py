"""Relations of a score: with the other model's score, the length and the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
from staff_engine.charts.style import COLORS, SEQUENTIAL, base_figure
from staff_engine.samples.columns import SampleColumns
from staff_engine.system.words import number

MOST_POINTS = 2_000
"""Up to this number of verified samples, each is a point; more are counted in cells."""

CELLS = 40
"""Cells of the heat map along each side."""


def pair_frame(
    columns: SampleColumns, units: Units, *, scale: str = "linear", mask: np.ndarray | None = None
) -> pd.DataFrame:
    """The small model's and the target's score of each verified sample.

    Returns
    -------
    pandas.DataFrame
        Up to `MOST_POINTS` samples: row_id, small, target (scores in medians, moved to the
        border of the chart if they are outside), outside and chosen (bool). With more samples,
        a row for each cell of a grid, also the empty ones: small_low, small_high, target_low,
        target_high, samples, chosen and outside (counts). Without a mask all are chosen.
    """
    both = columns.scorable & columns.verified
    if scale == "log":
        both &= (columns.speculative > 0) & (columns.verification > 0)
    rows = np.flatnonzero(both)
    small, target = columns.speculative[rows] / units.small, columns.verification[rows] / units.target
    chosen = np.ones(len(rows), dtype=bool) if mask is None else mask[rows]
    if not len(rows):
        return pd.DataFrame(columns=["row_id", "small", "target", "outside", "chosen"])
    ends = limits(small, scale), limits(target, scale)
    inside_small, inside_target = np.clip(small, *ends[0]), np.clip(target, *ends[1])
    outside = (inside_small != small) | (inside_target != target)
    if len(rows) <= MOST_POINTS:
        return pd.DataFrame(
            {
                "row_id": rows,
                "small": inside_small,
                "target": inside_target,
                "outside": outside,
                "chosen": chosen,
            }
        )
    edges = [spaced(*each, scale, CELLS) for each in ends]
    across, up = (
        np.clip(np.searchsorted(of, values, side="right") - 1, 0, CELLS - 1)
        for of, values in zip(edges, (inside_small, inside_target), strict=True)
    )
    cells = across * CELLS + up
    counts = {
        name: np.bincount(cells[part], minlength=CELLS**2)
        for name, part in (("samples", slice(None)), ("chosen", chosen), ("outside", outside))
    }
    frame = {
        "small_low": np.repeat(edges[0][:-1], CELLS),
        "small_high": np.repeat(edges[0][1:], CELLS),
        "target_low": np.tile(edges[1][:-1], CELLS),
        "target_high": np.tile(edges[1][1:], CELLS),
    }
    return pd.DataFrame(frame | counts)


def pair_figure(frame: pd.DataFrame, *, scale: str = "linear") -> go.Figure:
    """Small model against target: points for few samples, else the number of samples in each cell."""
    figure = base_figure(
        x="Score on the small model (1 = its median)", y="Score on the target (1 = its median)"
    )
    figure.update_layout(hovermode="closest", height=420)
    if "row_id" in frame:
        ranges = [(frame[name].min(), frame[name].max()) for name in ("small", "target")]
        _add_points(figure, frame, scale)
    else:
        ranges = [(frame[f"{n}_low"].min(), frame[f"{n}_high"].max()) for n in ("small", "target")]
        _add_cells(figure, frame, scale)
    ends = placed([max(low for low, _ in ranges), min(high for _, high in ranges)], scale)
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": COLORS["dropped"], "width": 1.2, "dash": "dash"},
        name="Equally hard for both",
        hoverinfo="skip",
    )
    for update, (low, high) in zip((figure.update_xaxes, figure.update_yaxes), ranges, strict=True):
        score_axis(update, low, high, scale)
        edge = (placed(high, scale) - placed(low, scale)) * 0.02
        update(range=[float(placed(low, scale) - edge), float(placed(high, scale) + edge)])
    return figure


def reading(frame: pd.DataFrame) -> list[str]:
    """How to read the figure of a pair frame, and what is drawn at its border, as sentences."""
    sentences = ["Above the dashed line the target finds a sample harder than the small model does."]
    outside = int(frame["outside"].sum())
    if outside:
        verb = "sample is" if outside == 1 else "samples are"
        sentences.append(f"{outside:,} {verb} outside the chart and drawn at its border.")
    return sentences


def chosen_pair(
    frame: pd.DataFrame,
    box: Mapping[str, Sequence[float]],
    columns: SampleColumns,
    units: Units,
    *,
    scale: str,
) -> dict[str, tuple[float, float]]:
    """The ranges, in the models' own units, of a box on the figure: `score` and `verification`.

    Points are chosen if they are in the box, cells if the box touches them.
    """
    points = "row_id" in frame
    ranges = {}
    for part, axis, name, unit, scores in (
        ("score", "x", "small", units.small, columns.speculative),
        ("verification", "y", "target", units.target, columns.verification),
    ):
        if points:
            edges = np.array([frame[name].min(), frame[name].max()])
        else:
            edges = np.append(np.unique(frame[f"{name}_low"]), frame[f"{name}_high"].max())
        ranges[part] = chosen_range(box[axis], scale, unit, scores, edges, whole=not points)
    return ranges


def _add_points(figure: go.Figure, frame: pd.DataFrame, scale: str) -> None:
    for chosen, color, name in (
        (False, MUTED, "Other samples"),
        (True, COLORS["accent"], "Verified samples"),
    ):
        part = frame[frame["chosen"] == chosen]
        if len(part):
            figure.add_scattergl(
                x=placed(part["small"], scale),
                y=placed(part["target"], scale),
                customdata=part[["row_id", "small", "target"]],
                mode="markers",
                marker={"size": 7, "color": color, "opacity": 0.7},
                name=name,
                hovertemplate="row %{customdata[0]}: small model %{customdata[1]:.3g},"
                " target %{customdata[2]:.3g}<extra></extra>",
            )


def _add_cells(figure: go.Figure, frame: pd.DataFrame, scale: str) -> None:
    filtered = bool((frame["chosen"] < frame["samples"]).any())
    if filtered:
        _add_heat(figure, frame, "samples", scale, colorscale=[[0, MUTED], [1, MUTED]], showscale=False)
    most = int(frame["chosen"].max())
    ticks = [10**power for power in range(len(str(max(most, 1))))]
    bar = {"title": "Samples", "tickvals": np.log10(ticks), "ticktext": [f"{tick:,}" for tick in ticks]}
    _add_heat(figure, frame, "chosen", scale, colorscale=SEQUENTIAL, colorbar={**bar, "thickness": 12})
    filled = frame[frame["samples"] > 0]
    figure.add_scatter(  # heat maps do not support selection; invisible points in their cells do
        x=(placed(filled["small_low"], scale) + placed(filled["small_high"], scale)) / 2,
        y=(placed(filled["target_low"], scale) + placed(filled["target_high"], scale)) / 2,
        customdata=filled[["samples", "chosen"]],
        mode="markers",
        marker={"opacity": 0, "size": 6},
        showlegend=False,
        hovertemplate="%{customdata[0]:,} samples, %{customdata[1]:,} in the filter<extra></extra>"
        if filtered
        else "%{customdata[0]:,} samples<extra></extra>",
    )


def _add_heat(figure: go.Figure, frame: pd.DataFrame, counts: str, scale: str, **look: Any) -> None:
    shape = (CELLS, CELLS)  # small model down the rows of the frame, target within them
    heat = frame[counts].to_numpy().reshape(shape).T.astype(np.float64)
    heat[heat == 0] = np.nan
    across = np.append(frame["small_low"].to_numpy()[::CELLS], frame["small_high"].iloc[-1])
    up = np.append(frame["target_low"].to_numpy()[:CELLS], frame["target_high"].iloc[-1])
    figure.add_heatmap(
        x=placed(across, scale), y=placed(up, scale), z=np.log10(heat), hoverinfo="skip", **look
    )


def band_frame(
    values: np.ndarray, scores: np.ndarray, unit: float, *, mask: np.ndarray | None = None
) -> pd.DataFrame:
    """Quartiles of the scores along another value, such as the length, in groups of similar size.

    Parameters
    ----------
    values, scores : float (rows,)
        Rows where either is not finite are left out.
    unit
        The scores are divided by this.

    Returns
    -------
    pandas.DataFrame
        A row for each part ("all", and "chosen" with a mask) and group: low and high, the
        range of the values in it; value, their median; lower, middle and upper, the quartiles
        of the score; samples. A part without samples has one row of NaN.
    """
    there = np.isfinite(values) & np.isfinite(scores)
    parts = {"all": there} if mask is None else {"all": there, "chosen": there & mask}
    frames = [_quartiles(values[part], scores[part] / unit, name) for name, part in parts.items()]
    return pd.concat(frames, ignore_index=True)


def _quartiles(values: np.ndarray, scores: np.ndarray, part: str) -> pd.DataFrame:
    names = ["part", "low", "high", "value", "lower", "middle", "upper", "samples"]
    if not len(values):
        return pd.DataFrame([(part, *[np.nan] * 6, 0)], columns=names)
    order = np.argsort(values, kind="stable")
    values, scores = values[order], scores[order]
    groups = int(np.clip(len(values) // 15, 1, 24))
    starts = np.arange(groups) * len(values) // groups
    starts = np.unique(np.searchsorted(values, values[starts]))  # equal values stay together
    rows = []
    for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
        lower, middle, upper = np.quantile(scores[start:end], [0.25, 0.5, 0.75])
        inside = values[start:end]
        rows.append((part, inside[0], inside[-1], np.median(inside), lower, middle, upper, end - start))
    return pd.DataFrame(rows, columns=names)


def chosen_values(bounds: Sequence[float], *, whole: bool = False) -> tuple[float, float]:
    """The range of values of a box on the figure; for integers, such as tokens, those inside."""
    low, high = sorted(bounds)
    return (float(np.ceil(low)), float(max(np.floor(high), np.ceil(low)))) if whole else (low, high)


def band_figure(frame: pd.DataFrame, *, x: str, scale: str = "linear") -> go.Figure:
    """The median score along a value, in a band that covers the middle half of the samples.

    Parameters
    ----------
    x
        Title of the axis of the value, with its unit.
    """
    figure = base_figure(x=x, y="Score (1 = the median)")
    filtered = bool((frame["part"] == "chosen").any())
    for part, groups in frame.groupby("part", sort=True):
        muted = filtered and part == "all"
        name = ("All samples" if muted else "In the filter") if filtered else "Median and middle half"
        _add_band(figure, groups, COLORS["dropped"] if muted else COLORS["small"], name, scale)
    figure.update_layout(selectdirection="h")
    positive = frame[["lower", "middle", "upper"]].to_numpy()
    positive = positive[positive > 0]
    if scale == "log" and len(positive):
        score_axis(figure.update_yaxes, positive.min() / 1.1, positive.max() * 1.1, scale)
    else:
        figure.update_yaxes(rangemode="tozero")
    return figure


def _add_band(figure: go.Figure, groups: pd.DataFrame, color: str, name: str, scale: str) -> None:
    if scale == "log":  # a logarithmic axis cannot show 0
        groups = groups[groups["lower"] > 0]
    lower, middle, upper = (placed(groups[column], scale) for column in ("lower", "middle", "upper"))
    value = groups["value"].to_numpy()
    figure.add_scatter(
        x=np.concatenate([value, value[::-1]]),
        y=np.concatenate([upper, lower[::-1]]),
        fill="toself",
        mode="none",
        fillcolor=faint(color),
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=value,
        y=middle,
        customdata=groups[["low", "high", "lower", "middle", "upper", "samples"]],
        mode="lines+markers",
        line={"color": color, "width": 2},
        marker={"size": 5},
        name=name,
        hovertemplate="%{customdata[0]:.3g} to %{customdata[1]:.3g}: median %{customdata[3]:.3g},"
        " middle half %{customdata[2]:.3g} to %{customdata[4]:.3g}"
        " (%{customdata[5]:,} samples)<extra></extra>",
    )


def trend(correlation: float, what: str) -> str:
    """A rank correlation of the score with a value, as a sentence.

    Parameters
    ----------
    what
        The change of the value: "the response gets longer".
    """
    if not np.isfinite(correlation):
        return "There are too few samples, or they are too similar, to see a trend."
    found = number(correlation)
    if abs(correlation) < 0.2:
        return f"The score hardly changes as {what} (rank correlation {found})."
    how = "rises" if correlation > 0 else "falls"
    often = "" if abs(correlation) >= 0.6 else "tends to " if abs(correlation) < 0.4 else "mostly "
    verb = how.removesuffix("s") if often == "tends to " else how
    return f"The score {often}{verb} as {what} (rank correlation {found})."
