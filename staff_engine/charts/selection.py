"""A selection → its strata in one picture: verification ratio, size and budget, rate kept; running sums."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from staff_engine.charts.style import COLORS, base_figure
from staff_engine.coreset import Selection

MOST_DRAWN = 200
"""With more strata than this, neighbours are drawn together."""

FADED = 0.25
"""Opacity of the strata that the filter leaves out."""

MOST_COUNTED = 40
"""With more strata than this, only pointing at one says how many samples are verified in it."""

PANELS = (0.42, 0.36, 0.22)


def strata_frame(
    selection: Selection, *, per_stratum: int, chosen: Collection[int] = (), most: int = MOST_DRAWN
) -> pd.DataFrame:
    """What each stratum gives, ready to draw; the empty ones are left out.

    Parameters
    ----------
    per_stratum
        b_v: a stratum with fewer verified samples than this (and than it has) is thin.
    chosen
        Strata that a filter chose; all are drawn in full where it is empty.
    most
        With more strata than this, neighbours are put together. Their ratio is the mean over
        their verified samples, without an interval.

    Returns
    -------
    pandas.DataFrame
        A row for each stratum or group of strata: first and last, its strata; low and high,
        its edges; size; budget; kept, budget over size; verified; ratio; ratio_low and
        ratio_high; thin; faded, whether the filter leaves all of it out.
    """
    frame = selection.strata.rename(columns={"stratum": "first"})
    frame["last"] = frame["first"]
    frame["thin"] = frame["verified"] < np.minimum(per_stratum, frame["size"])
    frame["faded"] = ~frame["first"].isin(list(chosen)) if len(chosen) else False
    frame = frame[frame["size"] > 0].reset_index(drop=True)
    if len(frame) > most:
        frame = _put_together(frame, most)
    frame["kept"] = frame["budget"] / frame["size"]
    return frame


def _put_together(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    groups = np.arange(len(frame)) * most // len(frame)
    weights = frame["verified"].clip(lower=1)
    frame = frame.assign(weighted=frame["ratio"] * weights, weight=weights)
    together = frame.groupby(groups).agg(
        {
            "first": "first", "last": "last", "low": "first", "high": "last",
            "size": "sum", "budget": "sum", "verified": "sum",
            "weighted": "sum", "weight": "sum", "thin": "any", "faded": "all",
        }
    )  # fmt: skip
    together["ratio"] = together["weighted"] / together["weight"]
    together["ratio_low"] = together["ratio_high"] = np.nan
    return together.drop(columns=["weighted", "weight"]).reset_index(drop=True)


def strata_figure(frame: pd.DataFrame) -> go.Figure:
    """Three panels over the strata, from the easiest to the hardest: ratio, samples, rate kept.

    Points and bars carry the first and last stratum that they stand for as customdata.
    """
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=list(PANELS), vertical_spacing=0.05)
    x = frame["first"].to_numpy()
    places = frame[["first", "last"]].to_numpy()
    opacity = np.where(frame["faded"], FADED, 1.0)
    _add_ratios(figure, frame, opacity)
    samples = {"customdata": places, "marker_opacity": opacity}
    for name, column, color in (
        ("In the data", "size", COLORS["dropped"]),
        ("In the coreset", "budget", COLORS["kept"]),
    ):
        figure.add_bar(
            x=x, y=frame[column], name=name, marker_color=color, row=2, col=1,
            hovertemplate="%{y:,} " + name[0].lower() + name[1:] + "<extra></extra>", **samples,
        )  # fmt: skip
    figure.add_bar(
        x=x, y=frame["kept"], name="Rate kept", marker_color=COLORS["kept"], showlegend=False,
        hovertemplate="%{y:.1%} kept<extra></extra>", row=3, col=1, **samples,
    )  # fmt: skip
    figure.update_layout(
        height=620,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        barmode="overlay",
        bargap=0.12,
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
    )
    together = bool((frame["first"] != frame["last"]).any())
    title = f"Strata, easiest to hardest{' (neighbours drawn together)' if together else ''}"
    figure.update_xaxes(title=title, row=3, col=1)
    figure.update_xaxes(automargin=True, range=[-0.6, (x.max() if len(x) else 1) + 0.6])
    figure.update_yaxes(title="Verification ratio", row=1, col=1)
    figure.update_yaxes(title="Samples", row=2, col=1)
    figure.update_yaxes(title="Rate kept", tickformat=".0%", rangemode="tozero", row=3, col=1)
    figure.update_yaxes(automargin=True)
    return figure


def _add_ratios(figure: go.Figure, frame: pd.DataFrame, opacity: np.ndarray) -> None:
    """Filled marks where enough samples are verified, hollow ones where they are few."""
    for name, thin in (("Ratio, 95 % interval", False), ("Ratio from few samples", True)):
        mine = frame["thin"].to_numpy() == thin
        if not mine.any():
            continue
        part = frame[mine]
        figure.add_scatter(
            x=part["first"],
            y=part["ratio"],
            error_y={
                "type": "data",
                "array": (part["ratio_high"] - part["ratio"]).clip(lower=0),
                "arrayminus": (part["ratio"] - part["ratio_low"]).clip(lower=0),
                "width": 3,
                "thickness": 1.2,
            },
            mode="markers",
            name=name,
            customdata=part[["first", "last", "verified"]],
            marker={
                "color": COLORS["target"],
                "symbol": "circle-open" if thin else "circle",
                "size": 8,
                "opacity": opacity[mine],
            },
            hovertemplate="ratio %{y:.2f}, from %{customdata[2]} verified<extra></extra>",
            row=1,
            col=1,
        )
    figure.add_hline(y=1, line_dash="dash", line_width=1, line_color=COLORS["dropped"], row=1, col=1)
    if len(frame) <= MOST_COUNTED:
        for place, (stratum, count) in enumerate(zip(frame["first"], frame["verified"], strict=True)):
            figure.add_annotation(
                x=stratum, y=0, xref="x", yref="y domain", yanchor="top", showarrow=False, font_size=10,
                text=f"n={count}" if place == 0 else str(count),
            )  # fmt: skip


def cumulative_frame(selection: Selection) -> pd.DataFrame:
    """Running shares from the easiest to the hardest stratum; starts at 0 and 0.

    Returns
    -------
    pandas.DataFrame
        stratum, -1 for the start; data, the share of the samples in strata up to this one;
        coreset, the share of the coreset likewise.
    """
    sizes, budget = selection.sizes.cumsum(), selection.budget.cumsum()
    return pd.DataFrame(
        {
            "stratum": np.arange(-1, len(sizes)),
            "data": np.concatenate([[0.0], sizes / sizes[-1]]),
            "coreset": np.concatenate([[0.0], budget / budget[-1]]),
        }
    )


def cumulative_figure(frame: pd.DataFrame) -> go.Figure:
    """The coreset's running share over the data's, beside a coreset drawn without looking."""
    figure = base_figure(
        x="Share of the data, easiest first", y="Share of the coreset", height=320, legend=True
    )
    figure.add_scatter(
        x=frame["data"],
        y=frame["coreset"],
        customdata=frame["stratum"],
        mode="lines",
        line={"color": COLORS["kept"], "width": 2.5},
        name="This coreset",
        hovertemplate="%{y:.0%} of the coreset up to stratum %{customdata}<extra></extra>",
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": COLORS["dropped"], "dash": "dash", "width": 1},
        name="A random one",
        hoverinfo="skip",
    )
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(tickformat=".0%", range=[0, 1.01])
    return figure
