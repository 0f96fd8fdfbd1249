"""What a link restores: run, settings, filter and each page's own choices.

They are stored in the session under the names below, and copied to the query parameters.
Streamlit's own `bind="query-params"` loses a widget's parameter when the page changes,
so this module copies them: `restore` runs before the page, `keep` after it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from staff_engine.errors import PlanError, RunError, StaffError, shortened
from staff_engine.plan import SELECTION_FIELDS, Plan
from staff_engine.runs.control import Run, find_run, kind_of, read_record
from staff_engine.runs.kinds import KINDS, Kind
from staff_engine.samples.filters import Filter
from staff_engine.selection.methods import METHODS

SETTINGS = (*SELECTION_FIELDS, "verify_per_stratum", "adaptive")
"""Settings of the plan that pages can change without running a model; each is a session key."""

LAST = "_link_last"
"""Session key: the query parameters that `keep` wrote; others come from the user."""

OF_RUN = "_link_of_run"
"""Session key: the run from whose plan the settings were last set."""

NEXT_RUN = "_link_next_run"
"""Session key: the run that a page selected; the run selector shows it from the next rerun on."""

NEXT_FAMILY = "_link_next_family"
"""Session key: like `NEXT_RUN`, for a similarity run."""

NEXT_EVALUATION = "_link_next_evaluation"
"""Session key: like `NEXT_RUN`, for an evaluation of coresets."""

REFUSED = "_link_refused"
"""Session key: messages about invalid values of a link."""


_OTHER_RUNS: dict[Kind | None, str] = {
    "coreset": "it selects a coreset",
    "evaluation": "it evaluates coresets",
}
"""What a run of another kind does, for the error message."""


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"allowed: {', '.join(allowed)}")
        return text

    return read


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("allowed: a whole number, 0 or more")
    return int(text)


def _yes_no(text: str) -> bool:
    return _one_of("yes", "no")(text) == "yes"


def _share(text: str) -> float:
    """A fraction of the samples."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise ValueError("allowed: 0 or more and below 1")
    return value


def _strata(text: str) -> int:
    """A number of strata."""
    value = _count(text)
    if not 1 <= value <= 10_000:
        raise ValueError("allowed: 1 to 10,000")
    return value


def _methods(text: str) -> str:
    """Names of methods, separated by commas."""
    if not set(filter(None, text.split(","))) <= METHODS.keys():
        raise ValueError(f"allowed: {', '.join(METHODS)}, separated by commas")
    return text


def _similarity(text: str) -> str:
    """The id of a similarity run, or of a run that cannot be read."""
    try:
        run = _find(text, Kind.SIMILARITY)
    except RunError as error:
        raise ValueError(str(error)) from None
    kind = kind_of(run)
    if kind not in (Kind.SIMILARITY, None):
        raise ValueError(f"it {KINDS[kind].does}; allowed: a similarity run")
    return run.id


PAGE_KEYS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "scores_on": ("verified", _one_of("verified", "all")),
    "scores_scale": ("linear", _one_of("linear", "log")),
    "scores_shape": ("density", _one_of("density", "cumulative")),
    "compare_view": ("selections", _one_of("selections", "methods", "evaluation")),
    "evaluation": (None, str),
    "compare_methods": (None, _methods),
    "compare_beta": (None, _share),
    "compare_strata": (None, _strata),
    "compare_a": ("current", str),
    "compare_b": ("plan", str),
    "row": (None, _count),
    "samples_sort": ("row_id", str),
    "samples_order": ("ascending", _one_of("ascending", "descending")),
    "samples_page": (1, _count),
    "samples_view": ("table", _one_of("table", "map")),
    "map_color": ("stratum", _one_of("stratum", "score", "kept")),
    "family": (None, _similarity),
    "family_score": ("all", _one_of("all", "last_block", "loss")),
    "family_for": (None, str),
    "family_length": ("held", _one_of("held", "plain")),
    "family_target": ("untouched", _one_of("untouched", "fine-tuned")),
    "export_format": ("jsonl", str),
    "export_selection": ("current", str),
    "export_scores": (False, _yes_no),
}
"""A page's own choices: the default, and a parser of the link's text that raises ValueError."""


def restore() -> None:
    """Set the session keys from the link if the link has changed."""
    query = st.query_params.to_dict()
    initial = {"run": None, "filter": Filter(), REFUSED: [], LAST: {}}
    initial |= {name: default for name, (default, _) in PAGE_KEYS.items()}
    for name, value in initial.items():
        st.session_state.setdefault(name, value)
    if NEXT_RUN in st.session_state:
        st.session_state.run = st.session_state.pop(NEXT_RUN)
    if NEXT_EVALUATION in st.session_state:
        st.session_state.evaluation = st.session_state.pop(NEXT_EVALUATION)
        st.session_state.compare_view = "evaluation"
    if NEXT_FAMILY in st.session_state:
        st.session_state.family = st.session_state.pop(NEXT_FAMILY)
    # Changing the page clears the query, so an empty query is not a request.
    if query and query != st.session_state[LAST]:
        _read(query)
    if OF_RUN not in st.session_state or st.session_state[OF_RUN] != st.session_state.run:
        _take_plan({})


def keep() -> None:
    """Write the keys that differ from their defaults into the query parameters."""
    query: dict[str, str] = {}
    if st.session_state.run:
        query["run"] = st.session_state.run
        defaults = _plan_settings()
        for name in SETTINGS:
            if st.session_state[name] != defaults[name]:
                query[name] = _text(st.session_state[name])
        query |= st.session_state.filter.to_query()
    for name, (default, _) in PAGE_KEYS.items():
        if st.session_state[name] != default:
            query[name] = _text(st.session_state[name])
    st.session_state[LAST] = query
    if st.query_params.to_dict() != query:
        st.query_params.from_dict(query)


def refusals() -> list[str]:
    """Messages about invalid values of the link; each is returned once."""
    messages = st.session_state[REFUSED]
    st.session_state[REFUSED] = []
    return messages


def _read(query: dict[str, str]) -> None:
    if "run" in query:
        try:
            st.session_state.run = _find(query["run"]).id
        except StaffError as error:
            st.session_state.run = None
            _refuse(f"Invalid link: {error}.")
    _take_plan(query)
    for name, (default, read) in PAGE_KEYS.items():
        value = default
        if name in query:
            try:
                value = read(query[name])
            except ValueError as error:
                instead = "It is ignored." if default is None else f"The default, {_text(default)}, is used."
                _refuse(f"The link's {name} is {shortened(query[name])}; {error}. {instead}")
        st.session_state[name] = value
    try:
        st.session_state.filter = Filter.from_query(query)
    except PlanError as error:
        _refuse(f"The link's filter is invalid and is ignored: {error}.")


def _take_plan(query: dict[str, str]) -> None:
    """Set the settings from the run's plan, and from the valid settings of the link."""
    settings = _plan_settings()
    for name in SETTINGS:
        if name in query:
            try:
                settings[name] = getattr(
                    Plan.make(dataset="-", small="-", target="-", **{name: query[name]}), name
                )
            except PlanError as error:
                _refuse(f"The link's {error}. The run's own value, {settings[name]}, is used.")
    st.session_state.update(settings)
    st.session_state.filter = Filter()
    st.session_state[OF_RUN] = st.session_state.run


def _plan_settings() -> dict[str, Any]:
    """The settings of the run's plan, or the defaults if there is no readable run."""
    if st.session_state.run:
        try:
            plan = read_record(_find(st.session_state.run)).plan
            return {name: getattr(plan, name) for name in SETTINGS}
        except StaffError:
            pass  # the page shows what is wrong with the run
    return {name: Plan.model_fields[name].default for name in SETTINGS}


def _find(run_id: str, kind: Kind = Kind.CORESET) -> Run:
    """The run of a link, by id or name, never by path; `latest` is the latest of that kind."""
    if Path(run_id).name != run_id or run_id.startswith((".", "~")):
        raise RunError(f"run {run_id!r} is not the name of a run")
    return find_run(run_id, kind=kind)


def _refuse(sentence: str) -> None:
    st.session_state[REFUSED] = [*st.session_state[REFUSED], sentence]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.9g}" if isinstance(value, float) else str(value)
