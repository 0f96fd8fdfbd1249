"""Shared by all figures: colours, and an empty figure as a start."""

from __future__ import annotations

import html

import pandas as pd
import plotly.graph_objects as go

COLORS = {
    "small": "#2F8FD8",
    "target": "#E0752D",
    "kept": "#1FA37A",
    "dropped": "#8A8F98",
    "accent": "#7A5AC8",
    "first": "#7A5AC8",
    "second": "#B8791A",
}
"""Distinct for colour-blind readers; contrast 3:1 or more on a white and on a near-black page."""

MODELS = {
    "small": (COLORS["small"], COLORS["accent"], COLORS["kept"], "#C2559D", "#6E7F2A"),
    "target": (COLORS["target"], "#B8791A", "#D0474F"),
}
"""Colours of models in charts with more than two; the first ones are the usual colours."""

SEQUENTIAL = "Cividis"
"""Colour scale of heat maps: even in lightness, and suitable for colour-blind readers."""

STRATA = "Viridis"
"""Colour scale of the strata, from the easiest to the hardest."""


def base_figure(*, x: str, y: str, height: int = 360, legend: bool = True) -> go.Figure:
    """An empty figure; the page's theme paints background and text.

    Parameters
    ----------
    x, y
        Titles of the axes, with their units.
    height
        In pixels.
    legend
        Whether to name the traces above the plot.
    """
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36 if legend else 12, "b": 8},
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode="x",
        bargap=0.04,
        dragmode=False,
    )
    figure.update_xaxes(title=x, automargin=True)
    figure.update_yaxes(title=y, automargin=True)
    return figure


def clipped(frame: pd.DataFrame) -> str:
    """The number of samples above the last bar, which counts them, as a sentence; "" for none.

    Parameters
    ----------
    frame
        A row for each bar: high, its upper edge; beyond, samples in it that are above that edge.
    """
    count = int(frame["beyond"].sum())
    if not count:
        return ""
    many = f"{count:,} samples" if count > 1 else "1 sample"
    return f"The last bar includes {many} above {frame['high'].iloc[-1]:.3g}."


def literal(name: object) -> str:
    """A name for a figure, which shows it letter by letter: Plotly reads `<b>` and `<a>` in texts."""
    return html.escape(str(name), quote=False)
