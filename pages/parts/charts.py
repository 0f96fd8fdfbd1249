"""A figure on a page."""

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
    """Show a figure in the page's theme; with `on_select`, a box can be dragged over it, or points clicked.

    Parameters
    ----------
    alt
        What the figure shows, for those who do not see it.
    on_select
        As `st.plotly_chart` takes it; the chart's selection is returned then.
    selection_mode
        "box" or "points": where dragging chooses, Streamlit hands over no clicks.
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
