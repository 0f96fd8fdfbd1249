"""Ways from page to page: the file of each, and the run that it shows when it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import streamlit as st

from pages.parts import links


def page_file(name: str) -> str:
    """The file of a page, as `st.switch_page` and `st.page_link` take it."""
    return f"pages/{name}.py"


def choose_run(run_id: str | None) -> None:
    """Make a run the one that all pages show, from the next run of the script on.

    The picker in the sidebar holds the choice, and no script may change it once it is drawn.
    """
    st.session_state[links.NEXT_RUN] = run_id


def open_run(run_id: str, name: str = "run") -> NoReturn:
    """Go to a page of a run."""
    choose_run(run_id)
    st.switch_page(page_file(name))


def choose_family(run_id: str | None) -> None:
    """Make a similarity run the one that Family shows, from the next run of the script on."""
    st.session_state[links.NEXT_FAMILY] = run_id


def open_family(run_id: str) -> NoReturn:
    """Go to what a similarity run has found, or how far it is."""
    choose_family(run_id)
    st.switch_page(page_file("family"))


def show_evaluation(run_id: str) -> None:
    """Make an evaluation of coresets the one that Compare shows, from the next run of the script on."""
    st.session_state[links.NEXT_EVALUATION] = run_id


def open_evaluation(run_id: str, source: str) -> NoReturn:
    """Go to what an evaluation of coresets has found, under the run that they are of."""
    choose_run(Path(source).name)
    show_evaluation(run_id)
    st.switch_page(page_file("compare"))


def plan_again(plan: dict[str, Any]) -> NoReturn:
    """Go to the Run page with a plan filled in, to change and start."""
    st.session_state.new_plan = dict(plan)
    choose_run(None)
    st.switch_page(page_file("run"))
