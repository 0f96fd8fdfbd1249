"""Data: the source of the samples, how rows are read, and a check of every row."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.parts.data import check, picker
from pages.parts.data.picker import DETECT
from pages.parts.navigation import page_file
from pages.parts.page import errors, header
from pages.parts.words import sentence
from staff_engine.data.first_rows import FirstRows, ReadRow, first_rows
from staff_engine.data.formats import BY_HAND, FORMATS, Mapping
from staff_engine.data.inspection.findings import DataChoice
from staff_engine.data.inspection.job import key_of
from staff_engine.data.sources import in_words, is_on_hub
from staff_engine.errors import DatasetError

ROLES = {
    "system": ("System", "gray"),
    "user": ("Prompt", "blue"),
    "assistant": ("Response", "violet"),
    "tool": ("Tool", "gray"),
}
ROWS_SHOWN = 3
TEXT_SHOWN = 1500


@st.cache_resource(max_entries=4, show_spinner="Reading the first rows …")
def _first_rows(source: str, split: str, version: str) -> FirstRows:
    return first_rows(source, split)


def _choose_columns(first: FirstRows) -> dict[str, Any]:
    """Selectors for the prompt and response columns; the settings, empty until both are chosen."""
    for name in ("data_prompt_column", "data_response_column"):
        if st.session_state[name] not in first.columns:
            st.session_state[name] = None
    chosen = [
        st.selectbox(
            label, first.columns, index=None, key=key, placeholder="Choose a column", persist_state="session"
        )
        for label, key in (
            ("Prompt column", "data_prompt_column"),
            ("Response column", "data_response_column"),
        )
    ]
    if not all(chosen):
        return {}
    return {"format": BY_HAND, "prompt_column": chosen[0], "response_column": chosen[1]}


def _choose_mapping(first: FirstRows) -> tuple[dict[str, Any], Mapping | None]:
    """A selector for the record format; returns its settings for a plan, and the mapping if there is one."""
    try:
        detected = first.mapping()
    except DatasetError as error:
        detected = None
        if not first.columns:
            st.error(f"{sentence(error)} Is this the right file?")
            return {}, None
    format = st.selectbox(
        "Format of a row",
        [DETECT, *FORMATS],
        format_func=lambda name: _format_words(name, detected),
        key="data_format",
        help="How a row stores the prompt and the response.",
        persist_state="session",
    )
    settings: dict[str, Any] = {} if format == DETECT else {"format": format}
    if format == BY_HAND or (format == DETECT and detected is None):
        if format == DETECT:
            st.caption("No known format fits these rows. Choose which columns to read.")
        settings = _choose_columns(first)
        if not settings:
            return {}, None
    try:
        return settings, first.mapping(**settings)
    except DatasetError as error:
        st.warning(sentence(error))
        return settings, None


def _format_words(name: str, detected: Mapping | None) -> str:
    if name != DETECT:
        return FORMATS[name].label
    return f"{FORMATS[detected.format].label} (detected)" if detected else "None detected"


def _show_rows(first: FirstRows, mapping: Mapping | None, version: str) -> None:
    """One page of the first rows, as prompt and response; without a mapping, as raw text."""
    pages = -(-len(first.lines) // ROWS_SHOWN)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown("**How the first rows are read**", width="content")
        shown = st.pagination(pages, max_visible_pages=5, key=f"data_page_{version}")
    with st.container(height=460, border=True, key="data_preview", gap="xsmall"):
        for row in first.read(mapping, (shown - 1) * ROWS_SHOWN, ROWS_SHOWN):
            _show_row(row, first.unit)
    if first.more:
        st.caption(f"The first {len(first.lines):,} rows are shown here.")


def _show_row(row: ReadRow, unit: str) -> None:
    st.caption(f"{unit.capitalize()} {row.number:,}")
    if row.problem:
        st.badge("Cannot be used", color="orange", icon=":material/warning:")
        st.text(row.problem)
    for turn in row.turns:
        name, color = ROLES[turn["role"]]
        st.badge(name, color=color)
        st.code(_cut(turn["content"]), language=None, wrap_lines=True)
    if not row.turns:
        st.code(_cut(row.text), language=None, wrap_lines=True)


def _cut(text: str) -> str:
    more = len(text) - TEXT_SHOWN
    return text if more <= 0 else f"{text[:TEXT_SHOWN]}…\n[{more:,} more characters]"


def _use(choice: DataChoice) -> None:
    st.session_state.new_plan = choice.into(st.session_state.get("new_plan") or {})
    st.session_state.run = None


header("Data", "Choose the samples to select from, see how they are read, and check every row before a run.")
picker.begin()
source = picker.choose()
if source is None:
    st.stop()

base = DataChoice(dataset=source, split=picker.split_of(source))
with errors():
    first = check.first_of_hub(base) if is_on_hub(source) else _first_rows(source, base.split, key_of(base))
    st.caption(f":material/check_circle: {in_words(source, first.unit)}")

reading, preview = st.columns([2, 3], gap="medium")
with reading:
    settings, mapping = _choose_mapping(first)
    limit = st.number_input(
        "Rows to use",
        min_value=2,
        value=None,
        step=1000,
        key="data_limit",
        placeholder="all",
        help="Read only the first N rows. Leave empty to read all.",
        persist_state="session",
    )
    choice = base.model_copy(update={**settings, "limit": limit})
    use = st.button(
        "Use this data",
        type="primary",
        icon=":material/arrow_forward:",
        icon_position="right",
        disabled=mapping is None,
        on_click=_use,
        args=(choice,),
        width="stretch",
        help="Opens the Run page, where you choose models and settings.",
    )
with preview:
    _show_rows(first, mapping, key_of(base))
if use:
    st.switch_page(page_file("run"))
if mapping is not None:
    check.show(choice)
