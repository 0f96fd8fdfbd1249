"""Compare: two selections of a run, STAFF and other methods, and how the target does after each."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pages.parts import coverage, overlap
from pages.parts.evaluation import report
from pages.parts.page import errors, header
from pages.parts.state import scored_results
from staff_engine.runs.results import Results

VIEWS: dict[str, tuple[str, Callable[[Results], None]]] = {
    "selections": ("Two selections", overlap.show),
    "methods": ("STAFF and other methods", coverage.show),
    "evaluation": ("After fine-tuning", report.show),
}
"""By the link's word: what people call a view, and what shows it."""


def main() -> None:
    header(
        "Compare",
        "Set two selections of this run against each other, or STAFF's coreset against what other methods"
        " would choose; and see how the target does after fine-tuning on each.",
    )
    results = scored_results()
    st.segmented_control(
        "What to compare", list(VIEWS), key="compare_view", format_func=lambda view: VIEWS[view][0],
        required=True, label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    _, show = VIEWS[st.session_state.compare_view]
    with errors():
        show(results)


main()
