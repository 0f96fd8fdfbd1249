"""The filter that applies to all pages: changing it, and its bar at the top of a page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.parts.state import current_mask
from pages.parts.words import plain
from staff_engine.runs.results import Results
from staff_engine.samples.filters import Filter


def set_filter(**changes: Any) -> None:
    """Change parts of the shared filter; call it in a callback, or rerun afterwards."""
    st.session_state.filter = st.session_state.filter.but(**changes)


def filter_bar(results: Results) -> None:
    """The parts of the current filter, each removable; nothing if no filter is set."""
    chosen: Filter = st.session_state.filter
    if chosen.empty:
        return
    passing = int(current_mask(results).sum())
    with st.container(horizontal=True, vertical_alignment="center", key="filter_bar"):
        st.caption(f"{passing:,} of {results.num_rows:,} rows pass:", width="content")
        for name, words in chosen.words():
            st.button(
                plain(words),
                key=f"filter_remove_{name}",
                icon=":material/close:",
                icon_position="right",
                help="Remove this filter",
                on_click=_remove,
                args=(name,),
            )
        st.button("Clear all", key="filter_clear", type="tertiary", on_click=_clear)
    if not passing:
        st.info(
            "No sample passes the filter. Remove part of the filter above.", icon=":material/filter_alt_off:"
        )


def _remove(name: str) -> None:
    st.session_state.filter = st.session_state.filter.without(name)


def _clear() -> None:
    st.session_state.filter = Filter()
