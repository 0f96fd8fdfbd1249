"""Names of runs for the run selectors; fast even with thousands of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import streamlit as st

from staff_engine.errors import RunError
from staff_engine.runs.control import list_runs, read_record
from staff_engine.runs.folders import PLAN_FILE, Run
from staff_engine.runs.kinds import Kind

LISTED = 200
"""Maximum number of runs in a selector; the Home page lists all of them."""

REMEMBERED = 5_000
"""Runs whose name and kind are cached; plan.json is read again only when it changes."""


def run_names(kinds: Collection[Kind | None]) -> dict[str, str]:
    """The newest runs of some kinds (None: unreadable runs), id to name; all names are distinct."""
    named: dict[str, tuple[str, str]] = {}
    for run in list_runs():
        name, when, kind = _facts(run)
        if kind in kinds:
            named[run.id] = name, when
            if len(named) == LISTED:
                break
    twice = {name for name, count in Counter(name for name, _ in named.values()).items() if count > 1}
    return {
        run_id: f"{name} {run_id[-4:]}, {when}" if name in twice else name
        for run_id, (name, when) in named.items()
    }


@st.cache_data(max_entries=REMEMBERED, show_spinner=False)
def _facts_at(run_id: str, folder: str, changed: int) -> tuple[str, str, Kind]:
    record = read_record(Run(run_id, Path(folder)))
    return record.name, f"{record.created.astimezone():%d %b %H:%M:%S}", record.kind


def _facts(run: Run) -> tuple[str, str, Kind | None]:
    """A run's name, when it was created, and its kind."""
    try:
        return _facts_at(run.id, str(run.folder), (run.folder / PLAN_FILE).stat().st_mtime_ns)
    except (RunError, OSError):
        return run.id, "", None
