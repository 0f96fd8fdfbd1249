"""A run that selects a coreset: stages, loss, scores so far and the log, read from its folder."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from pages.parts import brought
from pages.parts.charts import chart
from pages.parts.navigation import choose_run, page_file, plan_again
from pages.parts.page import errors, say_refusals
from pages.parts.run import progress
from pages.parts.words import plain, sentence
from staff_engine.charts import progress as charts
from staff_engine.charts.style import clipped
from staff_engine.data.sources import shown_file, shown_source
from staff_engine.pipelines.coreset import stages_of
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.control import Run
from staff_engine.runs.description import RunDescription
from staff_engine.runs.integrity.check import damage_sentence, find_damage
from staff_engine.runs.status import ACTIVE
from staff_engine.runs.summary import Summary, SummaryTrust
from staff_engine.system.hub import with_short_commits
from staff_engine.system.words import duration, noun

NEXT = {
    "queued": "Another run is in progress. This one starts when that run ends.",
    "running": "You can close this page or the app. The run continues in the background.",
    "finished": "The scores are ready. You can change the selection settings without running a model.",
    "failed": "Resume continues from where it stopped. Plan again lets you change the settings first.",
    "cancelled": "Resume continues from where it stopped.",
    "interrupted": "The process was killed, or the power failed. Resume continues from where it stopped.",
    "damaged": "Restore its plan.json, or remove its folder yourself and start a new run.",
}


def show(run: Run) -> None:
    """The page of a run; it refreshes while the run is active."""
    facts = control.describe(run)
    st.title(plain(facts.name or run.id), anchor=False)
    say_refusals()
    st.fragment(_follow, run_every=progress.REFRESH_SECONDS if facts.status.state in ACTIVE else None)(
        run, facts.status.state
    )


def _follow(run: Run, seen: str) -> None:
    if not run.folder.is_dir():
        st.info("This run was deleted.")
        return
    facts = control.describe(run)
    status = facts.status
    if status.state != seen:
        st.rerun()
    damage = find_damage(run.folder) if status.state == "finished" else []
    _head(run, facts, resumable=bool(damage))
    progress.failure(status)
    if damage:
        st.error(sentence(damage_sentence(run.folder, damage)))
    if status.state == "damaged" or facts.plan is None:
        return
    if status.state == "finished" and facts.summary is not None:
        _finished(facts.summary, facts.timings)
    left, right = st.columns([2, 3], gap="large")
    with left:
        progress.stages(status, stages_of(facts.plan))
    with right:
        _charts(run, status.state, facts.plan)
    progress.log(run, expanded=status.state in ("running", "failed"))


def _head(run: Run, facts: RunDescription, *, resumable: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        progress.state_badge(facts.status)
        st.caption(_words(facts.plan), width="content")
    st.markdown(NEXT[facts.status.state])
    with st.container(horizontal=True), errors():
        progress.controls(run, facts.status.state, "run", resumable=resumable)
        if facts.plan and st.button("Plan again", icon=":material/content_copy:", key="run_again"):
            plan_again(facts.plan.model_dump(mode="json"))
        if st.button("New run", icon=":material/add:", key="run_new"):
            choose_run(None)
            st.rerun()


def _words(plan: Plan | None) -> str:
    if plan is None:
        return ""
    data = shown_source(plan.dataset)
    if plan.scores is not None:
        of = shown_file(plan.scores)
        return plain(with_short_commits(f"{data} · {plan.score} of {of} for {plan.target}"))
    return plain(with_short_commits(f"{data} · {plan.small} for {plan.target}"))


def _finished(summary: Summary, timings: Mapping[str, float]) -> None:
    with st.grid(4, min_column_width=150):
        st.metric("Coreset", f"{summary.coreset_size:,} of {summary.samples:,}")
        st.metric("Verified by the target", f"{summary.verified / summary.samples:.0%}")
        st.metric("Strata served", f"{summary.strata_served:,} of {summary.strata:,}")
        st.metric("Time", duration(sum(timings.values())))
    if summary.trust is not None:
        _trust(summary.trust)
    for warning in summary.warnings:
        st.caption(f":material/info: {plain(warning)}")
    if summary.unscorable:
        have = noun(summary.unscorable, "row has", "rows have")
        st.caption(f":material/info: {summary.unscorable:,} {have} no score. The Samples page shows why.")
    with st.container(horizontal=True):
        if st.button("View the scores", type="primary", icon=":material/bar_chart:", key="run_scores"):
            st.switch_page(page_file("scores"))
        if st.button("Change the settings", icon=":material/tune:", key="run_select"):
            st.switch_page(page_file("select"))
        if st.button("Export the coreset", icon=":material/download:", key="run_export"):
            st.switch_page(page_file("export"))


def _trust(trust: SummaryTrust) -> None:
    text = f"**Reliability of the small model: {trust.word}.** {plain(trust.sentence)}"
    if trust.word == "low":
        advice = "".join(f"\n- {plain(line)}" for line in trust.advice)
        st.warning(f"{text} What can help:\n{advice}", icon=":material/balance:")
    else:
        st.caption(f":material/balance: {text}")


def _charts(run: Run, state: str, plan: Plan) -> None:
    with errors():
        tuning = charts.loss_frame(run.folder, "target")
    if plan.scores is None:
        _small_losses(run, state)
    if not tuning.empty:
        st.subheader("Fine-tuning of the target", anchor=False)
        figure = charts.loss_figure(tuning, "target")
        chart(figure, alt="Fine-tuning loss of the target by step", key="run_tuning")
    if plan.scores is None:
        _small_scores(run, state)
    else:
        brought.say(plan)


def _small_losses(run: Run, state: str) -> None:
    with errors():
        losses = charts.loss_frame(run.folder)
    st.subheader("Fine-tuning of the small model", anchor=False)
    if losses.empty:
        ended = state == "finished"
        st.caption(
            "The losses of this run are not stored."
            if ended
            else "The loss appears here when fine-tuning starts."
        )
    else:
        chart(charts.loss_figure(losses), alt="Fine-tuning loss by step", key="run_losses")


def _small_scores(run: Run, state: str) -> None:
    with errors():
        scores = charts.scored_frame(run.folder)
    st.subheader(f"Scores of the small model{'' if state == 'finished' else ' so far'}", anchor=False)
    if scores.empty:
        st.caption("The small model's scores appear here and are updated every few seconds.")
    else:
        chart(
            charts.scored_figure(scores),
            alt=f"Distribution of the {int(scores['samples'].sum()):,} scores so far",
            key="run_scored",
        )
        if far := clipped(scores):
            st.caption(far)
