"""The data that a page shows: the link's run, its results, selection, columns and filter, all cached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.parts.cache import shared
from pages.parts.navigation import choose_run, open_evaluation, open_family, page_file
from pages.parts.page import errors
from pages.parts.run import progress
from pages.parts.words import plain
from staff_engine.plan import SELECTION_FIELDS
from staff_engine.runs.control import Run, find_run, kind_of, list_runs, read_record, read_status
from staff_engine.runs.folders import SUMMARY_FILE
from staff_engine.runs.kinds import Kind
from staff_engine.runs.results import Results, open_results
from staff_engine.runs.status import ACTIVE, State
from staff_engine.runs.verification.drawing import to_verify, to_verify_alone
from staff_engine.samples.columns import SampleColumns, sample_columns
from staff_engine.samples.filters import Filter
from staff_engine.samples.table import filter_mask
from staff_engine.scoring.own_scores import FOLDER as OWN_SCORES
from staff_engine.selection.coreset import Selection

Chosen = tuple[tuple[str, Any], ...]

NEXT_STEPS: dict[State, str] = {
    "queued": "It starts when the current run ends.",
    "running": "Its scores appear here when it finishes.",
    "failed": "The Run page shows the reason. You can resume the run there.",
    "cancelled": "You can resume it on the Run page.",
    "interrupted": "Its process was killed. You can resume it on the Run page.",
    "damaged": "Restore its plan.json, or remove its folder yourself and start a new run.",
    "finished": "Its summary is missing. Resume it on the Run page to make it again.",
}


def current_run() -> Run:
    """The link's run; without one, the page shows a message and stops."""
    run_id = st.session_state.run
    if not run_id:
        if list_runs():
            st.info(
                "No run selected. Select one in the sidebar, or start a new one.",
                icon=":material/left_click:",
            )
        else:
            st.info("There are no runs yet. The demo takes about a minute.", icon=":material/rocket_launch:")
        st.page_link(page_file("home"), label="Go to Home", icon=":material/home:")
        st.stop()
    with errors():
        run = find_run(run_id)
    if kind_of(run) is Kind.SIMILARITY:
        st.info("This run compares models. It has no coreset to show here.", icon=":material/family_history:")
        if st.button("Open it on Family", type="primary", key="open_family"):
            choose_run(None)
            open_family(run.id)
        st.stop()
    evaluation = read_record(run).evaluation if kind_of(run) is Kind.EVALUATION else None
    if evaluation is not None:
        st.info(
            "This run evaluates the coresets of another run. It has no coreset of its own.",
            icon=":material/science:",
        )
        if st.button("Open it on Compare", type="primary", key="open_evaluation"):
            open_evaluation(run.id, evaluation.source)
        st.stop()
    return run


def scored_results() -> Results:
    """The current run's results; without scores, the page shows the state and the next step, and stops."""
    run = current_run()
    if not _is_scored(run):
        active = read_status(run).state in ACTIVE
        st.fragment(_show_unfinished, run_every=progress.REFRESH_SECONDS if active else None)(run)
        st.stop()
    with errors():
        return _results(run, results_version(run))
    raise AssertionError("errors() ends the page")


def _is_scored(run: Run) -> bool:
    return (run.folder / SUMMARY_FILE).exists()


def _show_unfinished(run: Run) -> None:
    """Show the state of a run without scores, and the next step; rerun the page when it has scores."""
    if _is_scored(run) or not run.folder.is_dir():
        st.rerun()
    status = read_status(run)
    text = f"This run is {status.state}. {NEXT_STEPS[status.state]}"
    if status.state in ("failed", "damaged") and status.message:
        text += f" ({plain(status.message)})"
    show = st.error if status.state in ("failed", "damaged") else st.info
    show(text)
    if status.state == "running" and status.total:
        progress.bar(status)
    st.page_link(page_file("run"), label="Go to the run", icon=":material/play_circle:")


def results_version(run: Run) -> str:
    """A string that changes when scores are added to a run, for cache keys."""
    watched = [
        run.folder / SUMMARY_FILE,
        *sorted((run.folder / "verification").glob("part-*.parquet")),
        *sorted((run.folder / OWN_SCORES).glob("*.parquet")),
    ]
    return " ".join(f"{path.name}:{path.stat().st_mtime_ns}" for path in watched if path.exists())


@shared("Reading the run's scores …")
def _results(run: Run, version: str) -> Results:
    return open_results(run.folder)


def current_settings() -> dict[str, Any]:
    """The link's selection settings, as arguments of `Results.select`."""
    return {name: st.session_state[name] for name in SELECTION_FIELDS}


def current_selection(results: Results) -> Selection:
    """The coreset for the link's settings."""
    return selection_of(results, current_settings())


def selection_of(results: Results, chosen: dict[str, Any]) -> Selection:
    """The coreset for some settings, cached."""
    with errors():
        return _selection(results.folder, _version_of(results), tuple(chosen.items()), results)
    raise AssertionError("errors() ends the page")


@shared()
def _selection(
    folder: Path, version: str, chosen: tuple[tuple[str, Any], ...], _results: Results
) -> Selection:
    return _results.select(**dict(chosen))


def missing_of(results: Results, per_stratum: int, adaptive: bool) -> int:
    """How many samples are to be verified for the link's settings, cached."""
    chosen = tuple(current_settings().items())
    return _missing(results.folder, _version_of(results), chosen, per_stratum, adaptive, results)


@shared()
def _missing(
    folder: Path, version: str, chosen: Chosen, per_stratum: int, adaptive: bool, _results: Results
) -> int:
    drawn = to_verify(_results, verify_per_stratum=per_stratum, adaptive=adaptive, **dict(chosen))
    return len(drawn) + len(to_verify_alone(_results))


def current_columns(results: Results) -> SampleColumns:
    """Every row's scores, stratum and decision for the link's settings."""
    selection = current_selection(results)
    return _columns(
        results.folder, _version_of(results), tuple(current_settings().items()), results, selection
    )


@shared()
def _columns(
    folder: Path, version: str, chosen: Chosen, _results: Results, _selection: Selection
) -> SampleColumns:
    return sample_columns(_results, _selection)


def current_mask(results: Results) -> np.ndarray:
    """Which rows pass the link's filter, bool (rows,)."""
    with errors():
        return _mask(
            results.folder,
            _version_of(results),
            tuple(current_settings().items()),
            st.session_state.filter,
            results,
            current_columns(results),
        )
    raise AssertionError("errors() ends the page")


@shared()
def _mask(
    folder: Path,
    version: str,
    chosen: Chosen,
    passing: Filter,
    _results: Results,
    _columns: SampleColumns,
) -> np.ndarray:
    return filter_mask(_results, _columns, passing)


def _version_of(results: Results) -> str:
    return results_version(Run(results.folder.name, results.folder))
