"""A selection → one figure of its strata: ratio, verified, size, budget, rate kept, cumulative shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from staff_engine.charts.style import COLORS
from staff_engine.selection.coreset import Selection

MOST_DRAWN = 200
"""With more strata than this, neighbours are merged."""

FADED = 0.25
"""Opacity of strata without samples that pass the filter."""

PANELS = ([0.76, 1.0], [0.65, 0.73], [0.47, 0.62], [0.35, 0.44], [0.0, 0.24])
"""Vertical range of each panel; 0 is the bottom of the figure, 1 the top."""


QUICK = {"automargin": False, "ticklabeloverflow": "allow"}
"""Axis options that skip measuring the labels, which would make an update take 1.5 times as long."""


def strata_frame(
    selection: Selection, *, per_stratum: int, mask: np.ndarray | None = None, most: int = MOST_DRAWN
) -> pd.DataFrame:
    """The strata, ready to draw, without the empty ones.

    Parameters
    ----------
    per_stratum
        b_v: a stratum with fewer verified samples than this (and than it has) is thin.
    mask : bool (rows,)
        The rows that pass the filter; None without a filter.
    most
        With more strata than this, neighbours are merged. Their ratio is the mean over their
        verified samples, without an interval.

    Returns
    -------
    pandas.DataFrame
        A row for each stratum or group of strata: first and last, its strata; low and high,
        its edges; size; budget; kept, budget over size; verified; ratio; ratio_low and
        ratio_high; thin; passing, the samples that pass the filter (all without a filter);
        faded, whether none passes.
    """
    frame = selection.strata.rename(columns={"stratum": "first"})
    frame["last"] = frame["first"]
    frame["thin"] = frame["verified"] < np.minimum(per_stratum, frame["size"])
    frame["passing"] = frame["size"] if mask is None else _passing(selection, mask)
    frame = frame[frame["size"] > 0].reset_index(drop=True)
    if len(frame) > most:
        frame = _merged(frame, most)
    frame["kept"] = frame["budget"] / frame["size"]
    frame["faded"] = frame["passing"] == 0
    return frame


def _passing(selection: Selection, mask: np.ndarray) -> np.ndarray:
    """Samples of each stratum that pass the filter, int (K,)."""
    labels = selection.labels[mask]
    return np.bincount(labels[labels >= 0], minlength=len(selection.sizes))


def _merged(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    groups = np.arange(len(frame)) * most // len(frame)
    weights = frame["verified"].clip(lower=1)
    frame = frame.assign(weighted=frame["ratio"] * weights, weight=weights)
    together = frame.groupby(groups).agg(
        {
            "first": "first", "last": "last", "low": "first", "high": "last",
            "size": "sum", "budget": "sum", "verified": "sum", "passing": "sum",
            "weighted": "sum", "weight": "sum", "thin": "any",
        }
    )  # fmt: skip
    together["ratio"] = together["weighted"] / together["weight"]
    together["ratio_low"] = together["ratio_high"] = np.nan
    return together.drop(columns=["weighted", "weight"]).reset_index(drop=True)


def strata_figure(frame: pd.DataFrame, running: pd.DataFrame) -> go.Figure:
    """Panels by stratum: ratio, verified, samples, rate kept; below them the cumulative shares.

    The customdata of points and bars starts with their first and last stratum. All panels are
    one figure, because all of them are redrawn at each move of a slider.

    Parameters
    ----------
    frame
        From `strata_frame`.
    running
        From `cumulative_frame`.
    """
    together = bool((frame["first"] != frame["last"]).any())
    title = f"Strata, easiest to hardest{' (neighbours merged)' if together else ''}"
    last = float(frame["first"].max()) if len(frame) else 1.0
    axes: dict[str, dict[str, Any]] = {
        "yaxis": {"title": {"text": "Verification ratio"}, "domain": PANELS[0]},
        "yaxis5": {"title": {"text": "Verified"}, "domain": PANELS[1], "nticks": 3},
        "yaxis2": {"title": {"text": "Samples"}, "domain": PANELS[2]},
        "yaxis3": {
            "title": {"text": "Rate kept"}, "domain": PANELS[3], "tickformat": ".0%", "rangemode": "tozero",
        },
        "yaxis4": {
            "title": {"text": "Share of coreset"}, "domain": PANELS[4],
            "tickformat": ".0%", "range": [0, 1.02],
        },
    }  # fmt: skip
    for name, axis in axes.items():
        axis |= {"anchor": "x2" if name == "yaxis4" else "x", **QUICK}
    at_one = {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "yref": "y", "y0": 1, "y1": 1}
    layout = {
        "height": 940,
        "margin": {"l": 84, "r": 24, "t": 84, "b": 48, "autoexpand": False},
        "barmode": "overlay",
        "bargap": 0.12,
        "hovermode": "x",
        "selectdirection": "h",  # the box is as high as the panel, because a bar is selected by its tip
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        "xaxis": {
            "title": {"text": title}, **QUICK, "anchor": "y3", "range": [-0.6, last + 0.6],
        },
        "xaxis2": {
            "title": {"text": "Share of the data, easiest first"}, **QUICK, "anchor": "y4",
            "range": [0, 1], "tickformat": ".0%",
        },
        "shapes": [{**at_one, "line": {"dash": "dash", "width": 1, "color": COLORS["dropped"]}}],
        **axes,
    }  # fmt: skip
    data = [*_ratios(frame), *_bars(frame), *_filtered(frame), *_running_shares(running)]
    return go.Figure({"data": data, "layout": layout})


def _bars(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Verified samples; samples in the data and in the coreset, overlaid; the share that is kept."""
    ends, opacity = frame[["first", "last"]].to_numpy(), _opacity(frame)
    for name, column, color, axis, says in (
        ("Verified", "verified", "target", "y5", "%{y:,} verified"),
        ("In the data", "size", "dropped", "y2", "%{y:,} in the data"),
        ("In the coreset", "budget", "kept", "y2", "%{y:,} in the coreset"),
        ("Rate kept", "kept", "kept", "y3", "%{y:.1%} kept"),
    ):
        yield {
            "type": "bar",
            "name": name,
            "x": frame["first"].to_numpy(),
            "y": frame[column].to_numpy(),
            "yaxis": axis,
            "marker": {"color": COLORS[color], "opacity": opacity},
            "customdata": ends,
            "hovertemplate": f"{says}<extra></extra>",
            "showlegend": axis == "y2",
        }


def _filtered(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """An outline for the samples that pass the filter; nothing if all pass."""
    if not (frame["passing"] < frame["size"]).any():
        return
    yield {
        "type": "bar",
        "name": "In the filter",
        "x": frame["first"].to_numpy(),
        "y": frame["passing"].where(frame["passing"] > 0).to_numpy(),  # an outline of 0 is a line
        "yaxis": "y2",
        "marker": {"color": "rgba(0, 0, 0, 0)", "line": {"color": COLORS["accent"], "width": 2}},
        "customdata": frame[["first", "last"]].to_numpy(),
        "hovertemplate": "%{y:,} in the filter<extra></extra>",
    }


def _ratios(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Filled points if enough samples are verified, hollow points if they are few."""
    for name, thin in (("Ratio, 95 % interval", False), ("Ratio from few samples", True)):
        part = frame[frame["thin"] == thin]
        if part.empty:
            continue
        ratio = part["ratio"].to_numpy()
        yield {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": part["first"].to_numpy(),
            "y": ratio,
            "error_y": {
                "type": "data",
                "array": np.maximum(part["ratio_high"].to_numpy() - ratio, 0),
                "arrayminus": np.maximum(ratio - part["ratio_low"].to_numpy(), 0),
                "width": 3,
                "thickness": 1.2,
            },
            "marker": {
                "color": COLORS["target"],
                "symbol": "circle-open" if thin else "circle",
                "size": 8,
                "opacity": _opacity(part),
            },
            "customdata": part[["first", "last", "verified"]].to_numpy(),
            "hovertemplate": "ratio %{y:.2f} from %{customdata[2]} verified samples<extra></extra>",
        }


def _running_shares(running: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Cumulative share of the coreset over that of the data, and the same of a random coreset."""
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": "Cumulative share",
        "x": running["data"].to_numpy(),
        "y": running["coreset"].to_numpy(),
        "text": [f"stratum {stratum}" for stratum in running["stratum"]],
        "line": {"color": COLORS["kept"], "width": 2.5},
        "xaxis": "x2",
        "yaxis": "y4",
        "hovertemplate": "%{y:.0%} of the coreset up to %{text}<extra></extra>",
        "showlegend": False,
    }
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": "A random coreset",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": COLORS["dropped"], "dash": "dash", "width": 1},
        "xaxis": "x2",
        "yaxis": "y4",
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _opacity(frame: pd.DataFrame) -> np.ndarray:
    return np.where(frame["faded"], FADED, 1.0)


def cumulative_frame(selection: Selection) -> pd.DataFrame:
    """Cumulative shares from the easiest to the hardest stratum; the first row is 0 and 0.

    Returns
    -------
    pandas.DataFrame
        stratum, -1 for the start; data, the share of the samples in strata up to this one;
        coreset, the share of the coreset in them.
    """
    sizes, budget = selection.sizes.cumsum(), selection.budget.cumsum()
    return pd.DataFrame(
        {
            "stratum": np.arange(-1, len(sizes)),
            "data": np.concatenate([[0.0], sizes / sizes[-1]]),
            "coreset": np.concatenate([[0.0], budget / budget[-1]]),
        }
    )
