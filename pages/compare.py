"""Compare: two selections of a run, STAFF and other methods, and the target after fine-tuning."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pages.parts import brought, coverage, overlap
from pages.parts.evaluation import report
from pages.parts.page import errors, header
from pages.parts.state import scored_results
from staff_engine.runs.results import Results

VIEWS: dict[str, tuple[str, Callable[[Results], None]]] = {
    "selections": ("Two selections", overlap.show),
    "methods": ("STAFF and other methods", coverage.show),
    "evaluation": ("After fine-tuning", report.show),
}
"""Value in the link: label of the view, and the function that shows it."""


def main() -> None:
    header(
        "Compare",
        "Compare two selections of this run, or STAFF's coreset with those of other methods, or the target"
        " after fine-tuning on each coreset.",
    )
    results = scored_results()
    brought.say(results.plan)
    st.segmented_control(
        "What to compare", list(VIEWS), key="compare_view", format_func=lambda view: VIEWS[view][0],
        required=True, label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    _, show = VIEWS[st.session_state.compare_view]
    with errors():
        show(results)


main()
