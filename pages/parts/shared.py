"""Pieces that two pages or more use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.parts import links
from staff_engine.errors import StaffError
from staff_engine.plan import SELECTION_FIELDS
from staff_engine.runs.control import Run, find_run, kind_of, list_runs, read_record, read_status
from staff_engine.runs.folders import SUMMARY_FILE
from staff_engine.runs.kinds import Kind
from staff_engine.runs.results import Results, open_results
from staff_engine.runs.stages import stage_of
from staff_engine.runs.status import ACTIVE, Status
from staff_engine.samples.columns import SampleColumns, sample_columns
from staff_engine.samples.filters import Filter
from staff_engine.samples.table import filter_mask
from staff_engine.selection.coreset import Selection
from staff_engine.system.words import duration

Chosen = tuple[tuple[str, Any], ...]

NEXT_STEPS = {
    "queued": "It starts when the run before it ends.",
    "running": "Its scores appear here when it is finished.",
    "failed": "The Run page says why, and lets it try again.",
    "cancelled": "The Run page lets it go on where it stopped.",
    "interrupted": "Its process is gone; the Run page lets it go on where it stopped.",
    "damaged": "Its folder cannot be read; delete it on the Home page and start again.",
}

REFRESH_SECONDS = 1.0
"""How often a page looks at a run that is at work."""

_BADGES = {
    "queued": ("gray", ":material/schedule:"),
    "running": ("blue", ":material/autorenew:"),
    "finished": ("green", ":material/check:"),
    "failed": ("red", ":material/error:"),
    "cancelled": ("orange", ":material/stop:"),
    "interrupted": ("orange", ":material/power_off:"),
    "damaged": ("red", ":material/broken_image:"),
}


def page(name: str) -> str:
    """The file of a page, as `st.switch_page` and `st.page_link` take it."""
    return f"pages/{name}.py"


def header(title: str, sentence: str) -> None:
    """A page's title, and a sentence on what it is for."""
    st.title(title, anchor=False)
    st.caption(sentence)
    say_refusals()


def say_refusals() -> None:
    """Say what the link asked for and did not get."""
    for refusal in links.refusals():
        st.warning(refusal, icon=":material/link_off:")


def state_badge(state: str) -> None:
    """A run's state, in its colour and with its sign."""
    color, icon = _BADGES[state]
    st.badge(state, icon=icon, color=color)


def plain(text: str) -> str:
    """Somebody's own text as Markdown shows it letter by letter."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#$~:|" else letter for letter in text)


def choose_run(run_id: str | None) -> None:
    """Make a run the one that all pages show, from the next run of the script on.

    The picker in the sidebar holds the choice, and no script may change it once it is drawn.
    """
    st.session_state[links.NEXT_RUN] = run_id


def open_run(run_id: str, name: str = "run") -> NoReturn:
    """Go to a page of a run."""
    choose_run(run_id)
    st.switch_page(page(name))


def choose_family(run_id: str | None) -> None:
    """Make a run that compares models the one that Family shows, from the next run of the script on."""
    st.session_state[links.NEXT_FAMILY] = run_id


def open_family(run_id: str) -> NoReturn:
    """Go to what a run that compares models has found, or how far it is."""
    choose_family(run_id)
    st.switch_page(page("family"))


def show_evaluation(run_id: str) -> None:
    """Make an evaluation of coresets the one that Compare shows, from the next run of the script on."""
    st.session_state[links.NEXT_EVALUATION] = run_id


def open_evaluation(run_id: str, source: str) -> NoReturn:
    """Go to what an evaluation of coresets has found, under the run that they are of."""
    choose_run(Path(source).name)
    show_evaluation(run_id)
    st.switch_page(page("compare"))


def plan_again(plan: dict[str, Any]) -> NoReturn:
    """Go to the Run page with a plan filled in, to change and start."""
    st.session_state.new_plan = dict(plan)
    choose_run(None)
    st.switch_page(page("run"))


@contextmanager
def errors() -> Iterator[None]:
    """Show an engine's error as a sentence, and end the page there."""
    try:
        yield
    except StaffError as error:
        st.error(sentence(error))
        st.stop()


def sentence(error: Exception | str) -> str:
    """An engine's error as a sentence, letter by letter."""
    text = str(error)
    return plain(f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}")


def current_run() -> Run:
    """The link's run; without one, the page says so and ends."""
    run_id = st.session_state.run
    if not run_id:
        if list_runs():
            st.info(
                "No run is chosen: choose one in the sidebar, or start one.", icon=":material/left_click:"
            )
        else:
            st.info("There is no run yet. The demo takes about a minute.", icon=":material/rocket_launch:")
        st.page_link(page("home"), label="Go to Home", icon=":material/home:")
        st.stop()
    with errors():
        run = find_run(run_id)
    if kind_of(run) is Kind.SIMILARITY:
        st.info("This run compares models; it has no coreset to show here.", icon=":material/family_history:")
        if st.button("Open it under Family", type="primary", key="open_family"):
            choose_run(None)
            open_family(run.id)
        st.stop()
    compared = read_record(run).comparison if kind_of(run) is Kind.EVALUATION else None
    if compared is not None:
        st.info(
            "This run evaluates the coresets of another; it has none of its own.", icon=":material/science:"
        )
        if st.button("Open it under Compare", type="primary", key="open_evaluation"):
            open_evaluation(run.id, compared.source)
        st.stop()
    return run


def scored_results() -> Results:
    """The current run's results; without scores, the page says the state and the next step, and ends."""
    run = current_run()
    if not _is_scored(run):
        at_work = read_status(run).state in ACTIVE
        st.fragment(_show_unfinished, run_every=REFRESH_SECONDS if at_work else None)(run)
        st.stop()
    with errors():
        return _results(run, results_version(run))
    raise AssertionError("errors() ends the page")


def _is_scored(run: Run) -> bool:
    return (run.folder / SUMMARY_FILE).exists()


def _show_unfinished(run: Run) -> None:
    """Say what a run without scores is doing, and where to go; once it has scores, the page itself."""
    if _is_scored(run) or not run.folder.is_dir():
        st.rerun()
    status = read_status(run)
    text = f"This run is {status.state}. {NEXT_STEPS.get(status.state, '')}"
    if status.state in ("failed", "damaged") and status.message:
        text += f" ({plain(status.message)})"
    show = st.error if status.state in ("failed", "damaged") else st.info
    show(text)
    if status.state == "running" and status.total:
        show_progress(status)
    st.page_link(page("run"), label="Go to the run", icon=":material/play_circle:")


def stage_name(name: str) -> str:
    """What a stage is called, letter by letter; a label may name a model. Raises RunError if unknown."""
    return plain(stage_of(name).label)


def show_progress(status: Status) -> None:
    """How far a run is in the stage at hand; nothing before its first."""
    if status.stage is None:
        return
    left = f", {duration(status.eta)} left" if status.eta else ""
    st.progress(min(status.done / status.total, 1.0), f"{stage_name(status.stage)}{left}")


def results_version(run: Run) -> str:
    """A text that changes when scores are added to a run."""
    watched = [run.folder / SUMMARY_FILE, *sorted((run.folder / "verification").glob("part-*.parquet"))]
    return " ".join(f"{path.name}:{path.stat().st_mtime_ns}" for path in watched if path.exists())


@st.cache_resource(max_entries=3, show_spinner="Reading the run's scores …")
def _results(run: Run, version: str) -> Results:
    return open_results(run.folder)


def settings() -> dict[str, Any]:
    """The link's selection settings, as `Results.select` takes them."""
    return {name: st.session_state[name] for name in SELECTION_FIELDS}


def current_selection(results: Results) -> Selection:
    """The coreset under the link's settings."""
    return selection_of(results, settings())


def selection_of(results: Results, chosen: dict[str, Any]) -> Selection:
    """The coreset under some settings, remembered."""
    with errors():
        return _selection(results.folder.name, _version_of(results), tuple(chosen.items()), results)
    raise AssertionError("errors() ends the page")


@st.cache_resource(max_entries=32, show_spinner=False)
def _selection(
    run_id: str, version: str, chosen: tuple[tuple[str, Any], ...], _results: Results
) -> Selection:
    return _results.select(**dict(chosen))


def current_columns(results: Results) -> SampleColumns:
    """Every row's scores, stratum and decision under the link's settings."""
    selection = current_selection(results)
    return _columns(results.folder.name, _version_of(results), tuple(settings().items()), results, selection)


@st.cache_resource(max_entries=4, show_spinner=False)
def _columns(
    run_id: str, version: str, chosen: Chosen, _results: Results, _selection: Selection
) -> SampleColumns:
    return sample_columns(_results, _selection)


def current_mask(results: Results) -> np.ndarray:
    """Which rows pass the link's filter, bool (rows,)."""
    with errors():
        return _mask(
            results.folder.name,
            _version_of(results),
            tuple(settings().items()),
            st.session_state.filter,
            results,
            current_columns(results),
        )
    raise AssertionError("errors() ends the page")


@st.cache_resource(max_entries=8, show_spinner=False)
def _mask(
    run_id: str,
    version: str,
    chosen: Chosen,
    passing: Filter,
    _results: Results,
    _columns: SampleColumns,
) -> np.ndarray:
    return filter_mask(_results, _columns, passing)


def _version_of(results: Results) -> str:
    return results_version(Run(results.folder.name, results.folder))


def set_filter(**changes: Any) -> None:
    """Change parts of the filter that all pages obey; call it in a callback, or rerun after it."""
    st.session_state.filter = st.session_state.filter.but(**changes)


def filter_bar(results: Results) -> None:
    """The parts of the current filter, each removable; nothing where none is set."""
    chosen: Filter = st.session_state.filter
    if chosen.empty:
        return
    passing = int(current_mask(results).sum())
    with st.container(horizontal=True, vertical_alignment="center", key="filter_bar"):
        st.caption(f"{passing:,} of {results.num_rows:,} rows pass:", width="content")
        for name, words in chosen.words():
            st.button(
                words,
                key=f"filter_remove_{name}",
                icon=":material/close:",
                icon_position="right",
                help="Remove this filter",
                on_click=_remove,
                args=(name,),
            )
        st.button("Clear all", key="filter_clear", type="tertiary", on_click=_clear)
    if not passing:
        st.info("No sample passes the filter. Remove a part of it above.", icon=":material/filter_alt_off:")


def _remove(name: str) -> None:
    st.session_state.filter = st.session_state.filter.without(name)


def _clear() -> None:
    st.session_state.filter = Filter()


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
