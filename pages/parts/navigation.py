"""Navigation between pages: the file of each page, and the run that it opens with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import streamlit as st

from pages.parts import links


def page_file(name: str) -> str:
    """The file of a page, for `st.switch_page` and `st.page_link`."""
    return f"pages/{name}.py"


def choose_run(run_id: str | None) -> None:
    """Select a run for all pages, from the next rerun of the script on.

    The selector in the sidebar owns this value, and a script cannot change it after drawing it.
    """
    st.session_state[links.NEXT_RUN] = run_id


def open_run(run_id: str, name: str = "run") -> NoReturn:
    """Go to a page of a run."""
    choose_run(run_id)
    st.switch_page(page_file(name))


def choose_family(run_id: str | None) -> None:
    """Select a similarity run for Family, from the next rerun of the script on."""
    st.session_state[links.NEXT_FAMILY] = run_id


def open_family(run_id: str) -> NoReturn:
    """Go to the results or the progress of a similarity run."""
    choose_family(run_id)
    st.switch_page(page_file("family"))


def show_evaluation(run_id: str) -> None:
    """Select an evaluation of coresets for Compare, from the next rerun of the script on."""
    st.session_state[links.NEXT_EVALUATION] = run_id


def open_evaluation(run_id: str, source: str) -> NoReturn:
    """Go to the results of an evaluation, under the run whose coresets it evaluates."""
    choose_run(Path(source).name)
    show_evaluation(run_id)
    st.switch_page(page_file("compare"))


def plan_again(plan: dict[str, Any]) -> NoReturn:
    """Go to the Run page with this plan filled in."""
    st.session_state.new_plan = dict(plan)
    choose_run(None)
    st.switch_page(page_file("run"))
