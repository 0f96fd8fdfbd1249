"""The frame of every page: logo, link, and the run selector in the sidebar."""

from __future__ import annotations

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from pages.parts import links, people
from pages.parts.run.names import run_names
from staff_engine.program import asset
from staff_engine.runs.kinds import Kind


def show(page: StreamlitPage) -> None:
    """Run a page between reading and writing its link."""
    st.logo(str(asset("logo.svg")), icon_image=str(asset("icon.svg")), size="large")
    people.sign_in()
    links.restore()
    _pick_run()
    try:
        page.run()
    finally:  # also if the page stops early
        links.keep()


def _pick_run() -> None:
    """A selector of the run that all result pages show."""
    chosen = st.session_state.run
    names = run_names((Kind.CORESET, None))
    if chosen and chosen not in names:  # from the link; the page shows what is wrong with it
        names[chosen] = chosen
    if names:
        st.sidebar.selectbox(
            "Run",
            list(names),
            index=None,
            placeholder="None selected",
            key="run",
            format_func=lambda run_id: names.get(run_id, run_id),
            persist_state="session",
            help="The run shown on the pages under Results.",
        )
