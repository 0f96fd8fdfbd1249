"""Widgets of the Data page that choose how a row is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from pages.parts.data.picker import DETECT
from pages.parts.words import plain, sentence
from staff_engine.data.detection import propose_conversation, propose_pair
from staff_engine.data.first_rows import FirstRows
from staff_engine.data.formats import BY_HAND, FORMATS
from staff_engine.data.inspection.findings import not_read_in_words
from staff_engine.data.inspection.tally import tally_of
from staff_engine.data.reading import Mapping, Reading
from staff_engine.errors import DatasetError

WAYS = {"columns": "Two columns", "template": "Template", "conversation": "Conversation"}
"""What a person maps by hand."""

REPEATED = {"keep": "Used", "exact": "Left out", "near": "Left out, also near ones"}
"""What to do with repeated rows."""


def text_settings() -> dict[str, str]:
    """The settings for text files: encoding and delimiter; only those that are given."""
    given = {name: st.session_state[f"data_{name}"].strip(" ") for name in ("encoding", "delimiter")}
    return {name: value for name, value in given.items() if value}


def choose(first: FirstRows) -> tuple[dict[str, Any], Mapping | None]:
    """Widgets for the record format; returns their settings for a plan, and the mapping if there is one."""
    try:
        detected = first.mapping()
    except DatasetError as error:
        detected = None
        if not first.columns:
            st.error(f"{sentence(error)} Is this the right file?")
            choose_options()
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
    by_hand = format == BY_HAND or (format == DETECT and detected is None)
    if by_hand:
        if format == DETECT:
            st.caption("No known format fits these rows. Choose which columns to read.")
        settings = _choose_by_hand(first)
    options = choose_options()
    if by_hand and not settings:
        return {}, None
    settings |= options
    try:
        mapping = first.mapping(Reading(**settings))
    except DatasetError as error:
        st.warning(sentence(error))
        return settings, None
    _say_what_is_not_read(first, mapping)
    return settings, mapping


def choose_options() -> dict[str, str]:
    """Widgets for the other settings for reading; only those that differ from the defaults."""
    with st.expander("More about reading", icon=":material/tune:"):
        roles = st.text_input(
            "Names of roles",
            key="data_roles",
            placeholder="customer=user,agent=assistant",
            help="Names of speakers in conversations, in addition to the known ones. Roles: system, user, "
            "assistant, tool.",
            persist_state="session",
        )
        reasoning = st.segmented_control(
            "Reasoning of a message (reasoning_content)",
            ["include", "exclude"],
            format_func={"include": "Part of the response", "exclude": "Left out"}.__getitem__,
            key="data_reasoning",
            required=True,
            persist_state="session",
        )
        bad_labels = st.segmented_control(
            "Rows with a label false (KTO data)",
            ["keep", "exclude"],
            format_func={"keep": "Used", "exclude": "Left out"}.__getitem__,
            key="data_bad_labels",
            required=True,
            help="In KTO data, a label false marks a bad response.",
            persist_state="session",
        )
        duplicates = st.segmented_control(
            "Repeated rows",
            list(REPEATED),
            format_func=REPEATED.__getitem__,
            key="data_duplicates",
            required=True,
            help="Near duplicates share at least 80 % of their sequences of three words. The first row of"
            " each group stays. The check lists all rows that are left out.",
            persist_state="session",
        )
        apart_from = st.text_input(
            "Held-out file",
            key="data_apart_from",
            placeholder="~/data/test.jsonl",
            help="Rows that overlap with a sample of this file are left out, and the check lists them.",
            persist_state="session",
        )
        with st.container(horizontal=True):
            st.text_input(
                "Encoding",
                key="data_encoding",
                placeholder="detected",
                help="Encoding of a text file, for example gb18030 or cp1252.",
                persist_state="session",
            )
            st.text_input(
                "Delimiter",
                key="data_delimiter",
                placeholder="detected",
                help="The character between the cells of a CSV file, or tab.",
                persist_state="session",
            )
    given: dict[str, str] = {} if not roles.strip() else {"roles": roles.strip()}
    given |= {} if reasoning == "include" else {"reasoning": reasoning}
    given |= {} if bad_labels == "keep" else {"bad_labels": bad_labels}
    given |= {} if duplicates == "keep" else {"duplicates": duplicates}
    given |= {"apart_from": str(Path(apart_from.strip()).expanduser())} if apart_from.strip() else {}
    return given | text_settings()


def _choose_by_hand(first: FirstRows) -> dict[str, Any]:
    """Widgets for columns, a template or a conversation; the settings, empty until all are chosen."""
    for name in ("prompt_column", "response_column", "conversation_column"):
        if st.session_state[f"data_{name}"] not in first.columns:
            st.session_state[f"data_{name}"] = None
    _propose(first)
    way = st.segmented_control(
        "What to read",
        list(WAYS),
        format_func=WAYS.__getitem__,
        key="data_way",
        required=True,
        persist_state="session",
    )
    if way == "conversation":
        column = _column("Column with the messages", "data_conversation_column", first)
        return {"conversation_column": column} if column else {}
    if way == "template":
        template = st.text_area(
            "Prompt template",
            key="data_prompt_template",
            placeholder="Summarize this dialogue.\n\n{dialogue}",
            help=f"The prompt, with column names in braces. Columns: {', '.join(map(plain, first.columns))}.",
            persist_state="session",
        )
        response = _column("Response column", "data_response_column", first)
        given = {"prompt_template": template, "response_column": response}
    else:
        prompt = _column("Prompt column", "data_prompt_column", first)
        response = _column("Response column", "data_response_column", first)
        given = {"prompt_column": prompt, "response_column": response}
    return {"format": BY_HAND, **given} if all(given.values()) else {}


def _propose(first: FirstRows) -> None:
    """Fill in columns that are probably meant, unless a person has chosen some."""
    if any(st.session_state[f"data_{name}_column"] for name in ("prompt", "response", "conversation")):
        return
    pair = propose_pair(first.columns)
    conversation = propose_conversation(first.rows)
    if pair and st.session_state.data_way == "columns":
        st.session_state.data_prompt_column, st.session_state.data_response_column = pair
    elif conversation and not pair:
        st.session_state.data_way = "conversation"
        st.session_state.data_conversation_column = conversation


def _column(label: str, key: str, first: FirstRows) -> str | None:
    return st.selectbox(
        label, first.columns, index=None, key=key, placeholder="Choose a column", persist_state="session"
    )


def _say_what_is_not_read(first: FirstRows, mapping: Mapping) -> None:
    """Name the columns and turn fields of the first rows that are not read, and what is read specially."""
    tally = tally_of(first.lines, mapping)
    if tally.not_read:
        st.caption(
            f":material/visibility_off: Not read: {plain(not_read_in_words(tally.not_read, tally.usable))}"
        )
    for note in tally.notes():
        st.caption(f":material/info: {sentence(note)}")


def _format_words(name: str, detected: Mapping | None) -> str:
    if name != DETECT:
        return FORMATS[name].label
    return f"{FORMATS[detected.format].label} (detected)" if detected else "None detected"
