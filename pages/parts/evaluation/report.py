"""Evaluation on the Compare page: results of the target after fine-tuning on each coreset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from pages.parts.charts import chart
from pages.parts.evaluation import form
from pages.parts.page import errors
from pages.parts.run import progress
from pages.parts.run.names import run_names
from pages.parts.words import plain
from staff_engine.charts import evaluation as charts
from staff_engine.errors import StaffError
from staff_engine.evaluation.report import EvaluationReport, Row, open_evaluation
from staff_engine.evaluation.run import stages_of
from staff_engine.evaluation.wording import sentences_of
from staff_engine.runs import control
from staff_engine.runs.control import read_record
from staff_engine.runs.folders import Run
from staff_engine.runs.kinds import Kind
from staff_engine.runs.results import Results
from staff_engine.runs.status import ACTIVE
from staff_engine.system.words import percent


def show(results: Results) -> None:
    """Results of the evaluations of a run's coresets, progress of a running one, and the form for another."""
    names = _evaluations(results.folder)
    if not names:
        st.info(
            "A coreset is good if the target, fine-tuned on it, does well on samples that it has not seen."
            " An evaluation fine-tunes the target once for each coreset and seed. The estimated"
            " time is shown below.",
            icon=":material/science:",
        )
        form.show(results, None)
        return
    if st.session_state.evaluation not in names:
        st.session_state.evaluation = next(iter(names))
    st.selectbox(
        "Evaluation", list(names), format_func=names.__getitem__, key="evaluation", persist_state="session"
    )
    run = control.find_run(st.session_state.evaluation)
    state = control.read_status(run).state
    if state != "finished":
        refreshed = progress.REFRESH_SECONDS if state in ACTIVE else None
        st.fragment(_follow, run_every=refreshed)(run, state, _cells(run))
    report = open_evaluation(run.folder).report if open_evaluation(run.folder).facts else None
    if report is not None:
        _show_report(report)
    with st.expander("Add to this evaluation, or start a new one", icon=":material/add:"):
        form.show(results, run)


def _evaluations(folder: Path) -> dict[str, str]:
    """The evaluations of this run's coresets, id to name, newest first."""
    names = {}
    for run_id, name in run_names((Kind.EVALUATION,)).items():
        try:
            evaluation = read_record(control.find_run(run_id)).evaluation
        except StaffError:
            continue
        if evaluation is not None and Path(evaluation.source).name == folder.name:
            names[run_id] = name
    return names


def _cells(run: Run) -> int:
    return len(list((run.folder / "cells").glob("*.json")))


def _follow(run: Run, seen: str, cells: int) -> None:
    """An unfinished evaluation: state and stages; the page reruns after each fine-tuning."""
    if not run.folder.is_dir():
        st.rerun()
    status = control.read_status(run)
    if status.state != seen or _cells(run) != cells:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        progress.state_badge(status)
        if status.message:
            st.caption(plain(status.message), width="content")
    progress.failure(status)
    if status.state == "damaged":
        return
    with st.container(horizontal=True), errors():
        progress.controls(run, status.state, "evaluation")
    with errors():
        progress.stages(status, stages_of(open_evaluation(run.folder)))
    progress.log(run, expanded=status.state == "failed")


def _show_report(report: EvaluationReport) -> None:
    for warning in report.warnings:
        st.warning(plain(warning))
    places = charts.places(report)
    if places:
        place = _choose_place(places)
        _show_verdicts(report, charts.rows_at(report, *place))
        _show_dots(report, place)
    st.subheader("All results", anchor=False)
    frame = charts.table_frame(report)
    digits = {"Loss": "%.3f", **({report.metric: "%.1f"} if report.metric else {})}
    numbers = {
        name: st.column_config.NumberColumn(format=form)
        for measure, form in digits.items()
        for name in (measure, f"{measure} − random")
    }
    shares = {
        name: st.column_config.NumberColumn(format="percent", help=help)
        for name, help in (
            ("Removed", "Share of the samples that is removed."),
            ("Selection", "Time to select the coreset, relative to fine-tuning on the full data."),
        )
    }
    shares |= {
        kind.capitalize(): st.column_config.NumberColumn(
            format="percent",
            help=f"Share of rows with _kind {kind!r} in the training, mean over the seeds.",
        )
        for kind in sorted({kind for row in report.rows for kind in row.kinds})
    }
    arms = {"Trained on": st.column_config.TextColumn(width=230)}
    st.dataframe(
        frame, hide_index=True, column_config={**numbers, **shares, **arms}, key="evaluation_table",
        placeholder="–", alt="Held-out loss and answer quality after fine-tuning on each coreset",
    )  # fmt: skip
    answers = f"; {report.metric} of {report.answers:,} generated answers, 0 to 100" if report.metric else ""
    st.caption(
        f"Loss on {report.held_out:,} held-out samples, in nats{answers}. {report.cells:,} of"
        f" {report.planned:,} fine-tunings are finished. Values are means over the seeds. “− random” is the"
        " mean difference from random with the same seed."
    )


def _show_verdicts(report: EvaluationReport, rows: Sequence[Row]) -> None:
    """The answer first: whether each coreset trains better than a random one, and what could be shown."""
    for index, sentence in enumerate(sentences_of(rows, report.metric, report.seed_seconds)):
        if index == 0:
            st.info(plain(sentence), icon=":material/gavel:")
        else:
            st.markdown(f"- {plain(sentence)}")


def _choose_place(places: list[tuple[float, str]]) -> tuple[float, str]:
    """A selector of pruning rate and budget, among the evaluated ones."""
    both = len({budget for _, budget in places}) > 1
    return st.selectbox(
        "Pruning rate",
        places,
        format_func=lambda each: f"{percent(each[0])} removed" + (f", equal {each[1]}" if both else ""),
        key="evaluation_place",
    )


def _show_dots(report: EvaluationReport, place: tuple[float, str]) -> None:
    measures: list[tuple[charts.Measure, str]] = [("loss", "Held-out loss (nats), lower is better")]
    if report.metric:
        measures.append(("metric", f"{report.metric} of the answers, higher is better"))
    with st.grid(len(measures), min_column_width=380, gap="large"):
        for measure, title in measures:
            frame = charts.dots_frame(report, measure, *place)
            chart(
                charts.dots_figure(frame, x=title), key=f"evaluation_{measure}",
                alt=f"{title}, means: {charts.dots_in_words(frame)}",
            )  # fmt: skip
    st.caption("Dot: mean over the seeds. Line: 95 % interval, which needs more than one seed.")
