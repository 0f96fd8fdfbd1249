"""The list of runs, newest first, with the actions for each."""

from __future__ import annotations

import streamlit as st

from pages.parts.navigation import (
    choose_family,
    choose_run,
    open_evaluation,
    open_family,
    open_run,
    plan_again,
)
from pages.parts.page import errors
from pages.parts.run import progress
from pages.parts.words import plain
from staff_engine.data.sources import shown_file, shown_source
from staff_engine.models.sources import short_name
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.control import Run
from staff_engine.runs.description import RunDescription
from staff_engine.runs.kinds import Kind
from staff_engine.runs.status import ACTIVE, now
from staff_engine.selection.methods import METHODS
from staff_engine.system.words import ago

ON_A_PAGE = 10
REFRESH_SECONDS = 2.0

LABELS = {
    "rename": ":material/edit: Rename",
    "again": ":material/content_copy: Plan again",
    "cancel": ":material/stop: Cancel",
    "resume": ":material/play_arrow: Resume",
    "delete": ":material/delete: Delete",
}


def show() -> None:
    """The list, which refreshes while a run is active."""
    all_runs = control.list_runs()
    st.subheader("Runs", anchor=False)
    if not all_runs:
        st.caption(
            "No runs yet. Runs appear here with their state. They continue when you close the browser."
        )
        return
    pages = -(-len(all_runs) // ON_A_PAGE)
    slot = st.container()
    page = st.pagination(pages, key="home_page") if pages > 1 else 1
    shown = all_runs[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
    active = any(control.read_status(run).state in ACTIVE for run in shown)
    with slot:
        st.fragment(_show_page, run_every=REFRESH_SECONDS if active else None)(shown)


def _show_page(shown: list[Run]) -> None:
    for run in shown:
        if run.folder.is_dir():
            _show_run(run, control.describe(run))


def _show_run(run: Run, facts: RunDescription) -> None:
    status = facts.status
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"home_run_{run.id}"):
        with st.container(gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{plain(facts.name or run.id)}**", width="content")
                progress.state_badge(status)
            st.caption(_words(facts))
            if status.state == "running" and status.total:
                progress.bar(status)
        selects = facts.kind in (Kind.CORESET, None)
        done = facts.summary is not None if selects else status.state == "finished"
        if st.button("Open", key=f"home_open_{run.id}", type="primary" if done else "secondary"):
            _open(run, facts, "select" if done else "run")
        actions = _actions(facts)
        chosen = actions and st.menu_button(
            "More",
            actions,
            format_func=LABELS.__getitem__,
            key=f"home_more_{run.id}",
            type="tertiary",
            icon=":material/more_vert:",
        )
        if chosen:
            with errors():
                _do(chosen, run, facts)


def _actions(facts: RunDescription) -> list[str]:
    state = facts.status.state
    if state == "damaged":
        return []  # nothing says that the folder is a run
    actions = ["rename", "again"] if facts.kind is Kind.CORESET else ["rename"]
    if state in ACTIVE:
        return [*actions, "cancel"]
    if state in ("failed", "cancelled", "interrupted") or facts.damage:
        actions.append("resume")
    return [*actions, "delete"]


def _do(action: str, run: Run, facts: RunDescription) -> None:
    if action == "rename":
        _rename(run, facts.name or "")
    elif action == "delete":
        _delete(run, facts.name or run.id)
    elif action == "again" and facts.plan is not None:
        plan_again(facts.plan.model_dump(mode="json"))
    elif action == "cancel":
        control.request_cancel(run)
        st.toast("The run will stop after the current batch.", icon=":material/stop:")
    elif action == "resume":
        control.resume(run)
        _open(run, facts, "run")
    else:
        raise ValueError(f"action is {action!r}; allowed: {', '.join(LABELS)}")


def _open(run: Run, facts: RunDescription, page: str) -> None:
    """Open the page for this kind of run."""
    if facts.similarity is not None:
        open_family(run.id)
    if facts.evaluation is not None:
        open_evaluation(run.id, facts.evaluation.source)
    open_run(run.id, page)


@st.dialog("Rename the run")
def _rename(run: Run, name: str) -> None:
    chosen = st.text_input("Name", name, max_chars=80, key="home_new_name")
    if st.button("Rename", type="primary", key="home_rename"):
        with errors():
            control.rename(run, chosen)
        st.rerun()


@st.dialog("Delete the run?")
def _delete(run: Run, name: str) -> None:
    st.markdown(f"**{plain(name)}** and its scores will be deleted permanently. Exported files are kept.")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", icon=":material/delete:", key="home_delete"):
            with errors():
                control.delete(run)
            if st.session_state.run == run.id:
                choose_run(None)
            if st.session_state.family == run.id:
                choose_family(None)
            st.rerun()
        if st.button("Keep it", key="home_keep"):
            st.rerun()


def _words(facts: RunDescription) -> str:
    """Data, models, result and age of a run, in one line."""
    parts = []
    if facts.plan is not None:
        parts.append(plain(short_name(shown_source(facts.plan.dataset))))
        parts.append(plain(_models(facts, facts.plan)))
    if facts.summary is not None:
        parts.append(f"{facts.summary.coreset_size:,} of {facts.summary.samples:,} samples")
    if facts.created is not None:
        parts.append(ago((now() - facts.created).total_seconds()))
    if facts.status.message and facts.status.state in ("failed", "damaged"):
        parts.append(plain(facts.status.message))
    if facts.status.state == "damaged":
        parts.append("restore the file, or remove the folder yourself")
    if facts.damage:
        parts.append(plain(facts.damage))
    return " · ".join(parts)


def _models(facts: RunDescription, plan: Plan) -> str:
    """The small models and the targets of a run."""
    chosen, compared = facts.evaluation, facts.similarity
    if chosen is not None:
        arms = [METHODS[name].label for name in chosen.methods if name in METHODS] + list(chosen.also)
        return f"evaluates {', '.join(arms)} on {short_name(plan.target)}"
    if plan.scores is not None:
        return f"{plan.score} of {shown_file(plan.scores)} for {short_name(plan.target)}"
    smalls, targets = (compared.smalls, compared.targets) if compared else ((plan.small,), (plan.target,))
    words = f"{', '.join(map(short_name, smalls))} for {', '.join(map(short_name, targets))}"
    return f"compares {words} on {compared.sample:,} samples" if compared else words
