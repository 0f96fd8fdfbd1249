"""What stands around every page: the link, the run picker in the sidebar, the pages' own errors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from pages import _link
from staff_engine.errors import RunError
from staff_engine.run_folders import PLAN_FILE, Run
from staff_engine.runs import list_runs, read_record

LISTED = 200
"""Most runs in the picker; all of them are on the Home page."""


def show(page: StreamlitPage) -> None:
    """Run a page between reading and writing its link."""
    st.logo("assets/logo.svg", icon_image="assets/icon.svg", size="large")
    _link.restore()
    _pick_run()
    try:
        page.run()
    finally:  # also where the page ends itself early
        _link.keep()


def _pick_run() -> None:
    """A picker of the run that all result pages show."""
    runs = list_runs()[:LISTED]
    chosen = st.session_state.run
    said = {run.id: _name(run) for run in runs}
    twice = {name for name, count in Counter(name for name, _ in said.values()).items() if count > 1}
    names = {
        run_id: f"{name} {run_id[-4:]}, {when}" if name in twice else name
        for run_id, (name, when) in said.items()
    }
    if chosen and chosen not in names:
        names[chosen] = chosen
    if names:
        st.sidebar.selectbox(
            "Run",
            list(names),
            index=None,
            placeholder="None chosen",
            key="run",
            format_func=lambda run_id: names.get(run_id, run_id),
            persist_state="session",
            help="The run that the pages under Results show.",
        )


@st.cache_data(max_entries=LISTED, show_spinner=False)
def _name_at(run_id: str, folder: str, changed: int) -> tuple[str, str]:
    record = read_record(Run(run_id, Path(folder)))
    return record.name, f"{record.created.astimezone():%d %b %H:%M:%S}"


def _name(run: Run) -> tuple[str, str]:
    """A run's name, and when it was created."""
    try:
        return _name_at(run.id, str(run.folder), (run.folder / PLAN_FILE).stat().st_mtime_ns)
    except (RunError, OSError):
        return run.id, ""
