"""Show a figure on a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st


def chart(
    figure: go.Figure,
    *,
    alt: str,
    key: str,
    on_select: Callable[[], None] | str | None = None,
    selection_mode: str = "box",
    height: int | None = None,
) -> Any:
    """Show a figure in the page's theme; with `on_select`, the user can drag a box or click points.

    Parameters
    ----------
    alt
        Text alternative: what the figure shows.
    on_select
        As in `st.plotly_chart`; the chart's selection is then returned.
    selection_mode
        "box" or "points": when dragging selects, Streamlit does not report clicks.
    """
    choosing = {"on_select": on_select, "selection_mode": selection_mode} if on_select else {}
    if height is not None:
        figure.update_layout(height=height)
    if on_select and selection_mode == "box":
        figure.update_layout(dragmode="select")
    return st.plotly_chart(
        figure,
        alt=alt,
        key=key,
        config={"displaylogo": False, "displayModeBar": False, "responsive": True},
        **choosing,
    )
