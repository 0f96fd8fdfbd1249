"""Family: which small model may speak for which target, from models that score the same samples."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from pages.parts.charts import chart
from pages.parts.navigation import plan_again
from pages.parts.page import errors, header
from pages.parts.run.names import run_names
from pages.parts.similarity import form, live
from pages.parts.words import plain, sentence
from staff_engine.charts import similarity as charts
from staff_engine.cli.command_lines import similarity_command
from staff_engine.errors import StaffError
from staff_engine.models.loading import short_name
from staff_engine.pipelines.similarity import wording as words
from staff_engine.pipelines.similarity.report import (
    REPORT_FILE,
    SCORES,
    Pair,
    Report,
    Score,
    Similarity,
    open_similarity,
)
from staff_engine.runs import control
from staff_engine.runs.control import Run
from staff_engine.runs.kinds import Kind
from staff_engine.runs.summary import load_timings
from staff_engine.selection.trust import FAIR, HIGH, HIGH_AT_LEAST, Trust
from staff_engine.system.words import counted, duration, number

SCORE_NAMES: dict[str, tuple[Score, str]] = {
    key: (score, charts.LENGTHS[score].title)
    for key, score in zip(("all", "last_block", "loss"), SCORES, strict=True)
}
"""What the link says, the score it means, and what people call it."""

BADGES = {
    "high": ("green", ":material/check_circle:"),
    "fair": ("orange", ":material/error:"),
    "low": ("red", ":material/cancel:"),
}


def main() -> None:
    header(
        "Family",
        "Find out which small model may speak for which target on your data: all of them score the same"
        " samples, and the page says how alike they are.",
    )
    run = _pick()
    if run is None:
        st.info(
            "No models are compared yet. A similarity run fine-tunes each small model on your data, lets"
            " every model score the same few hundred samples, and says which small model finds the same ones"
            " hard as the target does. With the built-in models it works offline.",
            icon=":material/family_history:",
        )
        st.subheader("New similarity run", anchor=False)
        form.show()
        return
    with st.expander("New similarity run", icon=":material/add:", key="family_new"):
        form.show()
    if control.read_status(run).state == "finished":
        with errors():
            found = _similarity(run, _version(run))
            _finished(found, found.report, found.scores)
        return
    live.show(run)


def _pick() -> Run | None:
    """The similarity run that the link or the picker chose, else the newest; None where there is none."""
    names = run_names((Kind.SIMILARITY,))
    chosen = st.session_state.family
    if chosen and chosen not in names:
        try:
            names[control.find_run(chosen).id] = chosen
        except StaffError as error:
            st.warning(sentence(error))
            chosen = None
    if not names:
        st.session_state.family = None
        return None
    if chosen is None:
        st.session_state.family = next(iter(names))
    st.selectbox(
        "Similarity run",
        list(names),
        key="family",
        format_func=lambda run_id: names.get(run_id, run_id),
        persist_state="session",
    )
    with errors():
        return control.find_run(st.session_state.family)
    raise AssertionError("errors() ends the page")


def _version(run: Run) -> int:
    path = run.folder / REPORT_FILE
    return path.stat().st_mtime_ns if path.exists() else 0


@st.cache_resource(max_entries=4, show_spinner="Reading the similarity run …")
def _similarity(run: Run, version: int) -> Similarity:
    return open_similarity(run.folder)


def _finished(found: Similarity, report: Report, scores: pd.DataFrame) -> None:
    st.caption(_made_from(found))
    score, tuned = _choices(report)
    _verdicts(found, report, score, tuned)
    _ranks(report, score)
    _curves(report, scores, score, tuned)
    _likeness(report, score, tuned)
    _lengths(report, score)
    _how(found)


def _made_from(found: Similarity) -> str:
    plan, report = found.plan, found.report
    tuned = counted(plan.epochs, "epoch")
    limit = f", the first {plan.limit:,} rows" if plan.limit else ""
    data = plain(plan.dataset)
    return f"{report.samples:,} samples of {data}{limit}; small models fine-tuned for {tuned}."


def _choices(report: Report) -> tuple[Score, bool]:
    """Which score, and in which state the targets are, as the link keeps them."""
    numbers = sorted({each.tuned_on for each in report.readings if each.role == "target" and each.tuned_on})
    with st.container(horizontal=True):
        st.segmented_control(
            "Score",
            list(SCORE_NAMES),
            key="family_score",
            format_func=lambda key: SCORE_NAMES[key][1],
            required=True,
            help="Effort is the norm of a sample's gradient, what a run selects by: over all LoRA matrices,"
            " or only the last decoder block's, as its setting Scored parameters says.",
            persist_state="session",
        )
        if numbers:
            tuned = f"Fine-tuned on {' or '.join(f'{count:,}' for count in numbers)} samples"
            st.segmented_control(
                "Target",
                ["untouched", "fine-tuned"],
                key="family_target",
                format_func={"untouched": "Untouched", "fine-tuned": tuned}.__getitem__,
                required=True,
                help="The paper's target is untouched when it verifies; Tune the target changes that.",
                persist_state="session",
            )
    if not numbers and st.session_state.family_target == "fine-tuned":
        st.info(
            "In this similarity run the target was left untouched; that is shown.", icon=":material/info:"
        )
    return SCORE_NAMES[st.session_state.family_score][0], bool(
        numbers
    ) and st.session_state.family_target == "fine-tuned"


def _verdicts(found: Similarity, report: Report, score: Score, tuned: bool) -> None:
    st.subheader("Who may speak for whom", anchor=False)
    st.markdown(f"**{plain(' '.join(words.conclusion(report, score, tuned=tuned)))}**")
    pairs = words.pairs_of(report, score, tuned=tuned)
    shown = _target_shown(list(dict.fromkeys(pair.target.model for pair in pairs)))
    with st.grid(3, min_column_width=240):
        for place, pair in enumerate(pairs):
            if pair.small.tuned_on and pair.target.model == shown:
                _verdict(found, pair, words.trust_of(report, pair), place)
    helps = words.advice(report, score, tuned=tuned)
    if helps:
        listed = "".join(f"\n- {plain(line)}" for line in helps)
        st.warning(f"Where trust is low, this can help in a run:\n{listed}", icon=":material/lightbulb:")
    if score != "loss":
        st.caption(
            f"Trust is high from a rank correlation of {HIGH:g} on whose interval begins at"
            f" {HIGH_AT_LEAST:g} or above, fair from {FAIR:g} on, as every run judges it. The small models"
            " are fine-tuned, as in a run."
        )


def _target_shown(targets: list[str]) -> str:
    """Of several targets the one whose small models are shown, as the link keeps it; else the only one."""
    if len(targets) == 1:
        return targets[0]
    if st.session_state.family_for not in targets:
        st.session_state.family_for = targets[0]
    st.segmented_control(
        "Small models for", targets, key="family_for", format_func=short_name, required=True,
        persist_state="session",
    )  # fmt: skip
    return st.session_state.family_for


def _verdict(found: Similarity, pair: Pair, trust: Trust | None, place: int) -> None:
    small, target = (plain(short_name(each.model)) for each in (pair.small, pair.target))
    agreement = pair.likeness.agreement
    with st.container(border=True, height="stretch"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{small}** for {target}", width="content")
            if trust is not None:
                color, icon = BADGES[trust.word]
                st.badge(f"{trust.word} trust", icon=icon, color=color)
        st.metric("Rank correlation", number(agreement.spearman))
        st.caption(
            f"95 % interval {number(agreement.low)} to {number(agreement.high)}, from"
            f" {agreement.samples:,} samples. {agreement.sentence}"
        )
        if (
            trust is not None
            and trust.word != "low"
            and st.button(
                "Plan a run with this pair",
                type="tertiary",
                icon=":material/play_circle:",
                key=f"family_plan_{place}",
            )
        ):
            pair_of_plan = {"small": pair.small.model, "target": pair.target.model}
            tune = {"tune_target": pair.target.tuned_on}
            plan_again({**found.plan.model_dump(), **pair_of_plan, **tune})


def _ranks(report: Report, score: Score) -> None:
    st.subheader("Do they put the samples in the same order?", anchor=False)
    frame = charts.rank_frame(report, score)
    chart(
        charts.rank_figure(frame), key="family_ranks",
        alt=f"Rank correlation of every two of {len(report.readings)} models and states, from"
        f" {number(frame['value'].min())} to {number(frame['value'].max())}.",
    )  # fmt: skip
    st.caption(
        "Spearman's rank correlation of every two models, with its 95 % bootstrap interval: 1 is the same"
        " order of the samples, 0 as if shuffled. The colours always go from 0 to 1; below 0 a cell is as"
        " dark as at 0."
    )


def _curves(report: Report, scores: pd.DataFrame, score: Score, tuned: bool) -> None:
    st.subheader("How are the scores spread?", anchor=False)
    frame = charts.curve_frame(report, scores, score, tuned=tuned)
    if frame.empty:
        st.info("No model has scores above 0 to draw.")
        return
    chart(
        charts.curve_figure(frame), key="family_curves",
        alt=f"Distributions of {frame['name'].nunique()} models' scores over each other, each around its own"
        " median, on a logarithmic axis.",
    )  # fmt: skip
    st.caption(
        "Each model's scores are divided by their own median, since the units of two models differ. Smoothed;"
        f" targets thick, untouched models dotted. {plain(charts.outside_in_words(frame))}"
    )


def _likeness(report: Report, score: Score, tuned: bool) -> None:
    st.subheader("How far do they agree with the target?", anchor=False)
    _dots(charts.likeness_frame(report, score, tuned=tuned), charts.LIKENESS, "Likeness to the target")
    untouched = "" if tuned else " Hollow dots are small models before fine-tuning."
    st.caption(
        f"Lines are 95 % bootstrap intervals; that of a small distance can lie above it.{untouched} The"
        f" strata are {report.strata} of equal width, the hardest tenth apart."
    )


def _lengths(report: Report, score: Score) -> None:
    st.subheader("Does the length of the response decide?", anchor=False)
    said = words.lengths_in_words(report, score)
    _dots(charts.length_frame(report), charts.LENGTHS, "How each model's score goes with the length")
    st.caption(f"{said} Lengths are in tokens of each model's own. Hollow dots are untouched models.")


def _dots(frame: pd.DataFrame, panels: Mapping[str, charts.Panel], alt: str) -> None:
    """A chart for each panel; as many beside each other as there is room for."""
    with st.grid(3, min_column_width=290):
        for place, (key, panel) in enumerate(panels.items()):
            with st.container(gap="xsmall"):
                st.markdown(f"**{panel.title}**")
                mine = frame[frame["panel"] == key]
                chart(
                    charts.dot_figure(mine, panel), key=f"family_dots_{place}_{len(panels)}",
                    alt=f"{alt}. {panel.title}, {panel.unit}: {charts.dots_in_words(mine)}",
                )  # fmt: skip


def _how(found: Similarity) -> None:
    with st.expander("How it was made", icon=":material/terminal:"):
        took = sum(load_timings(found.folder).values())
        st.caption(f"It took {duration(took)}. The same from the command line:")
        st.code(similarity_command(found.plan, found.compared), language="bash", wrap_lines=True)
        st.button(
            "Take it over into the form above",
            icon=":material/content_copy:",
            key="family_again",
            on_click=form.take_up,
            args=(found.plan, found.compared),
        )


main()
