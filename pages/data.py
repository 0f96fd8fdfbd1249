"""Data: the source of the samples, how rows are read, and a check of every row."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from pages.parts.data import check, mapping, picker
from pages.parts.navigation import page_file
from pages.parts.page import header
from pages.parts.words import sentence
from staff_engine.data.first_rows import FirstRows, ReadRow, first_rows
from staff_engine.data.inspection.findings import DataChoice
from staff_engine.data.inspection.job import key_of
from staff_engine.data.reading import Mapping, Reading
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
def _first_rows(source: str, split: str, text: dict[str, str], version: str) -> FirstRows:
    return first_rows(source, split, Reading(**text))


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
try:
    if is_on_hub(source):
        first = check.first_of_hub(base)
    else:
        first = _first_rows(source, base.split, mapping.text_settings(), key_of(base))
except DatasetError as error:
    st.error(sentence(error))
    mapping.choose_options()  # another encoding or delimiter may help
    st.stop()
st.caption(f":material/check_circle: {in_words(source, first.unit, base.split)}")

reading, preview = st.columns([2, 3], gap="medium")
with reading:
    settings, chosen = mapping.choose(first)
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
    choice = replace(base, **settings, limit=limit)
    use = st.button(
        "Use this data",
        type="primary",
        icon=":material/arrow_forward:",
        icon_position="right",
        disabled=chosen is None,
        on_click=_use,
        args=(choice,),
        width="stretch",
        help="Opens the Run page, where you choose models and settings.",
    )
with preview:
    _show_rows(first, chosen, key_of(base))
if use:
    st.switch_page(page_file("run"))
if chosen is not None:
    check.show(choice)
