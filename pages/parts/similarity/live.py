"""An unfinished similarity run: its state, the next step, stages and log."""

from __future__ import annotations

import streamlit as st

from pages.parts.page import errors
from pages.parts.run import progress
from pages.parts.words import plain
from staff_engine.data.sources import shown_source
from staff_engine.models.sources import short_name
from staff_engine.pipelines.similarity.report import open_similarity
from staff_engine.pipelines.similarity.run import stages_of
from staff_engine.runs import control
from staff_engine.runs.control import Run
from staff_engine.runs.description import RunDescription
from staff_engine.runs.status import ACTIVE

NEXT = {
    "queued": "Another run is in progress. This one starts when that run ends.",
    "running": "You can close this page or the app. The run continues in the background.",
    "failed": "Resume continues from where it stopped, or start a new similarity run with other models.",
    "cancelled": "Resume continues from where it stopped.",
    "interrupted": "The process was killed, or the power failed. Resume continues from where it stopped.",
    "damaged": "Restore its plan.json, or remove its folder yourself and start a new run.",
}


def show(run: Run) -> None:
    """Show the progress of the run; when it finishes, the page shows its results."""
    state = control.read_status(run).state
    st.fragment(_follow, run_every=progress.REFRESH_SECONDS if state in ACTIVE else None)(run, state)


def _follow(run: Run, seen: str) -> None:
    """The state of an unfinished similarity run, the next step, its stages and log."""
    if not run.folder.is_dir():
        st.rerun()
    facts = control.describe(run)
    status = facts.status
    if status.state != seen:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        progress.state_badge(status)
        st.caption(_what(facts), width="content")
    st.markdown(NEXT[status.state])
    progress.failure(status)
    if status.state == "damaged":
        return
    with st.container(horizontal=True), errors():
        progress.controls(run, status.state, "family")
    with errors():
        expected = stages_of(open_similarity(run.folder))
    if status.stage in expected:
        st.caption(f"Stage {expected.index(status.stage) + 1} of {len(expected)}.")
    progress.stages(status, expected)
    progress.log(run, expanded=status.state in ("running", "failed"))


def _what(facts: RunDescription) -> str:
    """Data and models of a similarity run, in one line."""
    compared = facts.similarity
    if facts.plan is None or compared is None:
        return ""
    smalls, targets = (", ".join(map(short_name, names)) for names in (compared.smalls, compared.targets))
    data = shown_source(facts.plan.dataset)
    return plain(f"{data} · {smalls} for {targets} · {compared.sample:,} samples")
