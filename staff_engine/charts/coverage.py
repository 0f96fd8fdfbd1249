"""Coresets of several methods → overlap, coverage, and distribution of their samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from staff_engine.charts.style import COLORS, SEQUENTIAL, base_figure
from staff_engine.selection.coverage import Coverage, Profile
from staff_engine.selection.methods import METHODS

BRIGHT_FROM = 0.47
"""From this value on, black text is easier to read on the colour scale than white."""

HEAT_ROW, SPREAD_ROW = 48, 32
"""Height of one method in a figure, in pixels."""

EVERYTHING = "All samples"


def overlap_frame(coverage: Coverage) -> pd.DataFrame:
    """The Jaccard index of each pair of coresets.

    Returns
    -------
    pandas.DataFrame
        A row and a column for each method, by label: 0 is no common sample, 1 the same coreset.
    """
    labels = _labels(coverage)
    return pd.DataFrame(coverage.jaccard, index=labels, columns=labels)


def overlap_figure(frame: pd.DataFrame) -> go.Figure:
    """Heat map of the overlaps, with values; the colours always range from 0 to 1.

    The diagonal is left blank, because it is always 1.
    """
    labels = list(frame.columns)
    values = np.where(np.eye(len(labels), dtype=bool), np.nan, frame.to_numpy())
    figure = base_figure(x="", y="", height=_height(len(labels), HEAT_ROW), legend=False)
    figure.add_heatmap(
        x=labels, y=labels, z=values, zmin=0, zmax=1, colorscale=SEQUENTIAL, showscale=False, xgap=2, ygap=2,
        hovertemplate="%{y} and %{x}: %{z:.1%} of the samples in either are in both<extra></extra>",
        hoverongaps=False,
    )  # fmt: skip
    rows, columns = np.nonzero(np.isfinite(values))  # Plotly's own text colour is hard to read
    shown = values[rows, columns]
    figure.add_scatter(
        x=[labels[column] for column in columns], y=[labels[row] for row in rows],
        text=[f"{value:.2f}" for value in shown], mode="text", hoverinfo="skip",
        textfont={"size": 13, "color": np.where(shown < BRIGHT_FROM, "#FFFFFF", "#10151C")},
    )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(showgrid=False, ticks="", range=[-0.5, len(labels) - 0.5], side="top")
    figure.update_yaxes(showgrid=False, ticks="", range=[len(labels) - 0.5, -0.5])
    return figure


def overlap_in_words(frame: pd.DataFrame) -> str:
    """The overlap of each pair of methods, as a text alternative to the heat map."""
    labels = list(frame.columns)
    return "; ".join(
        f"{first} and {second} {frame.loc[first, second]:.2f}"
        for index, first in enumerate(labels)
        for second in labels[index + 1 :]
    )


def reach_frame(coverage: Coverage) -> pd.DataFrame:
    """The coverage of each coreset.

    Returns
    -------
    pandas.DataFrame
        A row for each method: name, label; strata and clusters, the shares of them in which it has
        a sample, 0 to 1; clusters is NaN without embeddings.
    """
    return pd.DataFrame(
        {
            "name": coverage.names,
            "label": _labels(coverage),
            "strata": coverage.strata,
            "clusters": coverage.clusters,
        }
    )


def reach_figure(frame: pd.DataFrame, counts: Mapping[str, int]) -> go.Figure:
    """A bar for each method and kind of group; the bars of clusters are lighter.

    Parameters
    ----------
    counts
        Number of groups, by column of the frame; a column with none is left out.
    """
    figure = base_figure(x="Share covered", y="", height=_height(len(frame), HEAT_ROW))
    for groups, strength in (("strata", 1.0), ("clusters", 0.45)):
        count = counts[groups]
        if not count:
            continue
        figure.add_bar(
            x=frame[groups], y=frame["label"], orientation="h", name=f"{count:,} {groups}",
            marker_color=[_faded(color, strength) for color in _colors(frame["name"])],
            text=[f"{value:.0%}" for value in frame[groups]], textposition="outside", cliponaxis=False,
            customdata=(frame[groups] * count).round(),
            hovertemplate=f"%{{y}}: %{{customdata:,}} of {count:,} {groups}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(hovermode="closest", bargap=0.25, bargroupgap=0.05, legend_itemclick=False)
    figure.update_xaxes(range=[0, 1.12], tickformat=".0%", tickvals=[0, 0.5, 1])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def reach_in_words(frame: pd.DataFrame, groups: str) -> str:
    """Each method and its share of the groups."""
    return "; ".join(
        f"{label} {share:.0%}" for label, share in zip(frame["label"], frame[groups], strict=True)
    )


def spread_frame(coverage: Coverage, profile: Profile) -> pd.DataFrame:
    """How a column of the data is distributed in all samples and in each coreset.

    Returns
    -------
    pandas.DataFrame
        A row for all samples (name "") and for each method: name, label; lowest, low, middle,
        high and highest, the quantiles of `coverage.QUANTILES`.
    """
    values = np.vstack([profile.everything, profile.coresets])
    frame = pd.DataFrame(values, columns=["lowest", "low", "middle", "high", "highest"])
    frame.insert(0, "label", [EVERYTHING, *_labels(coverage)])
    frame.insert(0, "name", ["", *coverage.names])
    return frame


def spread_figure(frame: pd.DataFrame, *, x: str) -> go.Figure:
    """A line from the 5 % to the 95 % quantile, a thick line for the middle half, a dot at the median."""
    figure = base_figure(x=x, y="", height=_height(len(frame), SPREAD_ROW), legend=False)
    labels, colors = list(frame["label"]), _colors(frame["name"])
    figure.add_vline(
        x=frame["middle"].iloc[0], line={"color": COLORS["dropped"], "width": 1.5, "dash": "dash"}
    )
    for row, label, color in zip(frame.itertuples(), labels, colors, strict=True):
        for ends, width in (((row.lowest, row.highest), 2), ((row.low, row.high), 9)):
            figure.add_scatter(
                x=ends,
                y=[label, label],
                mode="lines",
                hoverinfo="skip",
                line={"color": color, "width": width},
            )
    figure.add_scatter(
        x=frame["middle"], y=labels, mode="markers",
        marker={"size": 9, "color": "#FFFFFF", "line": {"color": colors, "width": 2}},
        customdata=frame[["lowest", "low", "high", "highest"]],
        hovertemplate="%{y}: median %{x:.3g}, middle half %{customdata[1]:.3g} to %{customdata[2]:.3g},"
        " 5 % to 95 % %{customdata[0]:.3g} to %{customdata[3]:.3g}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_yaxes(autorange="reversed", showgrid=False, categoryorder="array", categoryarray=labels)
    low, high = frame["lowest"].min(), frame["highest"].max()
    room = 0.04 * ((high - low) or 1.0)
    figure.update_xaxes(range=[low - room, high + room])
    return figure


def spread_in_words(frame: pd.DataFrame) -> str:
    """Each method and its median."""
    return "; ".join(
        f"{label} {middle:.3g}" for label, middle in zip(frame["label"], frame["middle"], strict=True)
    )


def _labels(coverage: Coverage) -> list[str]:
    return [METHODS[name].label for name in coverage.names]


def _colors(names: pd.Series) -> list[str]:
    """STAFF's methods are highlighted among the others."""
    kept = {name: COLORS["kept"] for name, method in METHODS.items() if method.of_run}
    return [{"": COLORS["dropped"], **kept}.get(name, COLORS["small"]) for name in names]


def _faded(color: str, strength: float) -> str:
    """A translucent colour; unlike an opacity, the legend shows it too."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {strength})"


def _height(rows: int, each: int) -> int:
    return 80 + each * max(3, rows)
