"""The check of every row on the Data page: not started, running, failed or finished."""

from __future__ import annotations

import streamlit as st

from pages.parts.charts import chart
from pages.parts.page import errors
from pages.parts.words import plain, sentence
from staff_engine.charts.data import (
    conflicts_frame,
    lengths_figure,
    lengths_frame,
    problems_frame,
    repeats_frame,
)
from staff_engine.data.first_rows import FirstRows
from staff_engine.data.inspection.findings import (
    NOT_UTF8,
    DataChoice,
    Duplicates,
    Findings,
    Lengths,
    not_read_in_words,
)
from staff_engine.data.inspection.job import (
    Inspection,
    inspect_here,
    is_small,
    kept_first_rows,
    key_of,
    read_inspection,
    read_problems,
    start_inspection,
    stop_inspection,
)
from staff_engine.errors import DatasetError

PROBLEMS_SHOWN = 10
HINTS = {
    "not UTF-8": "Give the encoding under “More about reading”, or save the file as UTF-8.",
    "not JSON": "Each line must be one complete JSON object.",
    "no response": "A row without a response cannot be trained on.",
}


def first_of_hub(choice: DataChoice) -> FirstRows:
    """The first rows of a hub data set; until it is downloaded, the page stops here."""
    key = key_of(choice)
    inspection = read_inspection(key)
    first = kept_first_rows(key)
    if first is not None:
        return first
    if inspection is None:
        st.button("Download and check", icon=":material/cloud_download:", on_click=_start, args=(choice,))
        st.caption("The data set is downloaded once, in the background. The time depends on its size.")
    elif inspection.state == "running":
        _show_progress(key)
    else:
        _show_failure(inspection)
    st.stop()


def _start(choice: DataChoice) -> None:
    try:
        start_inspection(choice)
    except DatasetError as error:
        st.toast(sentence(error), icon=":material/error:")


def show(choice: DataChoice) -> None:
    """Check all rows of a data set, or offer to do so."""
    st.subheader("Check of every row", anchor=False)
    key = key_of(choice)
    inspection = read_inspection(key)
    if inspection is None and is_small(choice):
        with errors(), st.spinner("Checking every row …"):
            inspection = inspect_here(choice)
    if inspection is None:
        st.caption(
            "Measures lengths, and counts duplicates and rows that cannot be used. Works in the background."
        )
        st.button("Check every row", icon=":material/fact_check:", on_click=_start, args=(choice,))
    elif inspection.state == "running":
        _show_progress(key)
    elif inspection.findings is None:
        _show_failure(inspection)
    else:
        _show_findings(key, inspection.findings)


@st.fragment(run_every=0.5)
def _show_progress(key: str) -> None:
    inspection = read_inspection(key)
    if inspection is None or inspection.state != "running":
        st.rerun()
        return
    read = f"Checked {inspection.rows:,} rows" if inspection.rows else "Reading the data"
    st.progress(min(inspection.share, 1.0), text=f"{read} …")
    if inspection.background:
        st.button("Stop", icon=":material/stop:", on_click=stop_inspection, args=(key,))


def _show_failure(inspection: Inspection) -> None:
    st.error(sentence(inspection.message), icon=":material/error:")
    st.button("Try again", icon=":material/refresh:", on_click=_start, args=(inspection.choice,))


def _show_findings(key: str, findings: Findings) -> None:
    bad = findings.rows - findings.usable
    with st.grid(5, min_column_width=165):
        st.metric("Rows", f"{findings.rows:,}", border=True)
        st.metric("Can be used", f"{findings.usable:,}", border=True)
        st.metric("Cannot be used", f"{bad:,}", border=True)
        st.metric(
            "Repeated rows",
            f"{findings.same.extra:,}",
            border=True,
            help="Rows whose prompt and response are identical to those of an earlier row.",
        )
        st.metric(
            "Different responses",
            f"{findings.conflicts.groups:,}",
            border=True,
            help="Prompts that occur more than once with different responses.",
        )
    if findings.not_read:
        unread = not_read_in_words(findings.not_read, findings.usable)
        st.caption(f":material/visibility_off: Not read: {plain(unread)}")
    for note in findings.notes:
        st.info(sentence(note), icon=":material/info:")
    if not findings.usable:
        st.error(
            "No row can be used with this format. Choose another format, or correct the rows listed below."
        )
    lengths, repeats, conflicts, unusable = st.tabs(
        [
            "Lengths",
            f"Repeated rows ({findings.same.extra:,})",
            f"Different responses ({findings.conflicts.groups:,})",
            f"Cannot be used ({bad:,})",
        ]
    )
    with lengths:
        _show_lengths(findings)
    with repeats:
        st.caption(
            "Rows with exactly the same prompt and response. Each counts as a sample, and a coreset can "
            "contain several of them."
        )
        _show_repeats(findings.same, findings.unit)
    with conflicts:
        st.caption(
            "Prompts that occur several times with different responses. This is fine for open questions. If "
            "there is only one right answer, it may be an error in the data."
        )
        _show_conflicts(findings.conflicts, findings.unit)
    with unusable:
        st.caption(
            "These rows get no score and are never selected. A run lists them all, each with its reason."
        )
        _show_problems(key, findings)


def _show_lengths(findings: Findings) -> None:
    st.caption("Lengths of prompts and responses in characters. The number of tokens depends on the model.")
    with st.grid(min_column_width=420):
        for of, lengths in (("prompt", findings.prompt), ("response", findings.response)):
            if lengths is not None:
                chart(
                    lengths_figure(lengths_frame(lengths), lengths, of=of),
                    alt=_length_words(of, lengths),
                    key=f"data_lengths_{of}",
                )


def _length_words(of: str, lengths: Lengths) -> str:
    return (
        f"Histogram of {of} lengths: {lengths.least:,} to {lengths.greatest:,} characters, "
        f"median {lengths.median:,.0f}"
    )


def _show_repeats(same: Duplicates, unit: str) -> None:
    if not same.groups:
        st.success("There are no repeated rows.", icon=":material/check:")
        return
    _say_examples(same, f"{same.groups:,} different rows occur {same.rows:,} times in total")
    st.dataframe(repeats_frame(same, unit), hide_index=True, alt="Rows that repeat another")


def _show_conflicts(conflicts: Duplicates, unit: str) -> None:
    if not conflicts.groups:
        st.success("No prompt has different responses.", icon=":material/check:")
        return
    _say_examples(conflicts, f"{conflicts.groups:,} prompts have {conflicts.rows:,} different responses")
    st.dataframe(conflicts_frame(conflicts, unit), hide_index=True, alt="Prompts with different responses")


def _say_examples(duplicates: Duplicates, counted: str) -> None:
    shown = len(duplicates.examples)
    which = f" The {shown} most frequent are listed." if shown < duplicates.groups else ""
    st.markdown(f"{counted}.{which}")


def _show_problems(key: str, findings: Findings) -> None:
    if not findings.reasons:
        st.success("Every row can be used.", icon=":material/check:")
        return
    total = sum(findings.reasons.values())
    counts = {None: total, **findings.reasons}
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        reason = st.selectbox(
            "Reason",
            list(counts),
            format_func=lambda name: f"{name or 'All reasons'} ({counts[name]:,})",
            key=f"data_reason_{key}",
            width=420,
        )
        pages = max(1, -(-min(counts[reason], findings.listed) // PROBLEMS_SHOWN))
        shown = st.pagination(pages, max_visible_pages=5, key=f"data_problems_{key}_{reason}")
    hint = "not UTF-8" if (reason or "").endswith(NOT_UTF8) else reason
    if hint in HINTS:
        st.caption(HINTS[hint])
    problems = read_problems(key, reason, (shown - 1) * PROBLEMS_SHOWN, PROBLEMS_SHOWN)
    chosen = st.dataframe(
        problems_frame(problems, findings.unit),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"data_problem_{key}_{reason}_{shown}",
        alt="Rows that cannot be used, with the problem and the text of each",
    ).selection.rows
    if findings.listed < total:
        st.caption(f"The first {findings.listed:,} of {total:,} are listed.")
    if chosen:
        problem = problems[chosen[0]]
        st.caption(f"{findings.unit.capitalize()} {problem.number:,}, raw text")
        st.code(problem.text, language=None, wrap_lines=True)
    else:
        st.caption("Select a row to see its full text.")
