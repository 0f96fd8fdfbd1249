"""What all figures share: one colour for each thing, and an empty figure to begin with."""

from __future__ import annotations

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
"""Apart for the colour-blind, and at 3:1 or more on a white and on a near-black page."""

SEQUENTIAL = "Cividis"
"""Colour scale of heat maps: even in lightness, alike to the colour-blind."""

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
