"""Save a selection under a name; load, compare or delete a saved one."""

from __future__ import annotations

import streamlit as st

from pages.parts import links
from pages.parts.navigation import page_file
from pages.parts.page import errors
from pages.parts.state import current_settings, selection_of
from pages.parts.words import plain, sentence
from staff_engine.runs import saved_selections
from staff_engine.runs.control import Run
from staff_engine.runs.results import Results
from staff_engine.system.words import percent


def keep_and_load(run: Run, results: Results) -> None:
    """The saved selections of a run, and a form to save the current one."""
    st.subheader("Save this selection", anchor=False)
    with (
        st.form("select_save", border=False, clear_on_submit=True),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        name = st.text_input("Name", max_chars=saved_selections.LONGEST, placeholder=_suggestion(), width=320)
        asked = st.form_submit_button("Save", icon=":material/bookmark_add:")
    if asked:
        with errors():
            saved_selections.save_selection(run.folder, name or _suggestion(), current_settings())
        st.rerun()
    kept = saved_selections.list_saved(run.folder)
    for damaged in saved_selections.damaged_selections(run.folder):
        st.warning(sentence(f"a saved selection is left out: {damaged}"))
    st.caption(
        "You can compare and export saved selections later. The address of this page is also a link to these"
        " settings."
        if not kept
        else f"{len(kept)} saved in this run, newest first."
    )
    for each in kept:
        with st.container(horizontal=True, vertical_alignment="center", key=f"saved_{each.id}"):
            size = len(selection_of(results, each.settings).indices)
            st.markdown(f"**{plain(each.name)}** · {size:,} samples · {_words(each)}", width="stretch")
            st.button("Load", key=f"saved_load_{each.id}", on_click=_load, args=(each,))
            if st.button("Compare", key=f"saved_compare_{each.id}"):
                st.session_state.update(compare_a=each.id, compare_b="current")
                st.switch_page(page_file("compare"))
            st.button(
                "Delete",
                key=f"saved_forget_{each.id}",
                type="tertiary",
                icon=":material/delete:",
                on_click=saved_selections.delete_saved,
                args=(run.folder, each.id),
            )


def _load(each: saved_selections.SavedSelection) -> None:
    for name, value in each.settings.items():
        if name in links.SETTINGS:
            st.session_state[name] = value


def _suggestion() -> str:
    chosen = current_settings()
    return f"{percent(chosen['pruning_rate'])} removed, {chosen['strata']} strata"


def _words(each: saved_selections.SavedSelection) -> str:
    chosen = each.settings
    removed = percent(chosen["pruning_rate"])
    return f"{removed} removed, K {chosen['strata']} by {chosen['strata_by']}"
