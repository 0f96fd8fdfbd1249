"""Family: which small model fits which target, measured by scoring the same samples with all of them."""

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
from staff_engine.data.sources import shown_source
from staff_engine.errors import StaffError
from staff_engine.models.sources import short_name
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
"""Value in the link: the score and its label."""

BADGES = {
    "high": ("green", ":material/check_circle:"),
    "fair": ("orange", ":material/error:"),
    "low": ("red", ":material/cancel:"),
}


def main() -> None:
    header(
        "Family",
        "Find the small model that fits your target best on your data. All models score the same samples, and"
        " the page compares their scores.",
    )
    run = _pick()
    if run is None:
        st.info(
            "There is no similarity run yet. A similarity run fine-tunes each small model on your data,"
            " scores the same few hundred samples with every model, and shows which small model ranks them"
            " most like the target does. With the built-in models it works offline.",
            icon=":material/family_history:",
        )
        st.subheader("New similarity run", anchor=False)
        form.show()
        return
    with st.expander("New similarity run", icon=":material/add:", key="family_new"):
        form.show()
    if control.read_status(run).state == "finished":
        with errors():
            similarity = _similarity(run, _version(run))
            if not similarity.report.length_held:
                _older(run)
            _finished(similarity, similarity.report, similarity.scores)
        return
    live.show(run)


def _pick() -> Run | None:
    """The similarity run chosen by the link or the selector, else the newest; None if there is none."""
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


def _older(run: Run) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":material/info: {words.OLDER} The models' scores are stored, so measuring it runs no model and"
            " takes less than a minute."
        )
        if st.button("Measure it now", icon=":material/straighten:", key="family_hold"):
            with errors():
                control.start(run)
            st.rerun()


def _version(run: Run) -> int:
    path = run.folder / REPORT_FILE
    return path.stat().st_mtime_ns if path.exists() else 0


@st.cache_resource(max_entries=4, show_spinner="Reading the similarity run …")
def _similarity(run: Run, version: int) -> Similarity:
    return open_similarity(run.folder)


def _finished(similarity: Similarity, report: Report, scores: pd.DataFrame) -> None:
    st.caption(_made_from(similarity))
    score, tuned, held = _choices(report)
    st.subheader("Reliability for each target", anchor=False)
    _conclusion(words.conclusion(report, score, tuned=tuned))
    shown = words.for_target(report, _target_shown(report))
    _verdicts(similarity, shown, score, tuned)
    _ranks(report, score, held)
    _curves(shown, scores, score, tuned)
    _likeness(shown, score, tuned, held)
    _lengths(report, score)
    _how(similarity)


def _made_from(similarity: Similarity) -> str:
    plan, report = similarity.plan, similarity.report
    tuned = counted(plan.epochs, "epoch")
    limit = f", the first {plan.limit:,} rows" if plan.limit else ""
    data = plain(shown_source(plan.dataset))
    return f"{report.samples:,} samples of {data}{limit}; the small models were fine-tuned for {tuned}."


def _choices(report: Report) -> tuple[Score, bool, bool]:
    """Selectors, which the link keeps: the score, whether targets are fine-tuned and length is held."""
    numbers = sorted({each.tuned_on for each in report.readings if each.role == "target" and each.tuned_on})
    with st.container(horizontal=True):
        st.segmented_control(
            "Score",
            list(SCORE_NAMES),
            key="family_score",
            format_func=lambda key: SCORE_NAMES[key][1],
            required=True,
            help="Effort is the norm of a sample's gradient, the score that a run uses by default: over all"
            " LoRA matrices, or only those of the last decoder block (the setting Scored parameters).",
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
                help="In the paper, the target is untouched. The setting Tune the target changes this.",
                persist_state="session",
            )
        if report.length_held:
            st.segmented_control(
                "Rank correlation",
                ["held", "plain"],
                key="family_length",
                format_func={"held": "With response length held", "plain": "Spearman"}.__getitem__,
                required=True,
                help="Most models give short responses a high effort, so two models can agree merely because"
                " they saw the same lengths. With response length held, only the rest of the agreement"
                " counts. The reliability always rests on it.",
                persist_state="session",
            )
    if not numbers and st.session_state.family_target == "fine-tuned":
        st.info(
            "The target was not fine-tuned in this similarity run. The untouched target is shown.",
            icon=":material/info:",
        )
    return (
        SCORE_NAMES[st.session_state.family_score][0],
        bool(numbers) and st.session_state.family_target == "fine-tuned",
        report.length_held and st.session_state.family_length == "held",
    )


def _conclusion(sentences: list[str]) -> None:
    """One sentence in bold, several as a list."""
    if len(sentences) == 1:
        st.markdown(f"**{plain(sentences[0])}**")
    else:
        st.markdown("\n".join(f"- {plain(sentence)}" for sentence in sentences))


def _verdicts(similarity: Similarity, report: Report, score: Score, tuned: bool) -> None:
    """A card for each fine-tuned small model of one target, and what helps at low reliability."""
    with st.grid(3, min_column_width=240):
        for index, pair in enumerate(words.pairs_of(report, score, tuned=tuned)):
            if pair.small.tuned_on:
                _verdict(similarity, pair, words.trust_of(report, pair), index)
    helps = words.advice(report, score, tuned=tuned)
    if helps:
        listed = "".join(f"\n- {plain(line)}" for line in helps)
        st.warning(
            f"If the reliability is low, this can help in a run:\n{listed}", icon=":material/lightbulb:"
        )
    if score != "loss":
        with_held = " with response length held" if report.length_held else ""
        st.caption(
            f"Reliability is high if the rank correlation{with_held} is at least {HIGH:g} and its"
            f" interval starts at {HIGH_AT_LEAST:g} or above. It is fair if the correlation is at least"
            f" {FAIR:g}, else low. Every run uses the same thresholds."
            " The small models are fine-tuned, as in a run."
        )


def _target_shown(report: Report) -> str:
    """A selector of the target, kept in the link, if there are several; else the only one."""
    targets = list(dict.fromkeys(each.model for each in report.readings if each.role == "target"))
    if len(targets) == 1:
        return targets[0]
    if st.session_state.family_for not in targets:
        st.session_state.family_for = targets[0]
    st.segmented_control(
        "Small models for", targets, key="family_for", required=True, persist_state="session",
        format_func=lambda name: plain(short_name(name)),
    )  # fmt: skip
    return st.session_state.family_for


def _verdict(similarity: Similarity, pair: Pair, trust: Trust | None, index: int) -> None:
    small, target = (plain(short_name(each.model)) for each in (pair.small, pair.target))
    agreement = pair.likeness.agreement
    with st.container(border=True, height="stretch"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{small}** for {target}", width="content")
            if trust is not None:
                color, icon = BADGES[trust.word]
                st.badge(f"{trust.word} reliability", icon=icon, color=color)
        st.metric(
            "Rank correlation" if pair.likeness.held is None else "Rank correlation, response length held",
            number(agreement.judged[0]),
        )
        st.caption(f"{agreement.sentence} {agreement.figures}")
        if (
            trust is not None
            and trust.word != "low"
            and st.button(
                "Plan a run with this pair",
                type="tertiary",
                icon=":material/play_circle:",
                key=f"family_plan_{index}",
            )
        ):
            pair_of_plan = {"small": pair.small.model, "target": pair.target.model}
            tune = {"tune_target": pair.target.tuned_on}
            plan_again({**similarity.plan.model_dump(), **pair_of_plan, **tune})


def _ranks(report: Report, score: Score, held: bool) -> None:
    st.subheader("Do the models rank the samples alike?", anchor=False)
    frame = charts.rank_frame(report, score, held=held)
    which = "Rank correlations with response length held" if held else "Rank correlations"
    chart(
        charts.rank_figure(frame), key="family_ranks",
        alt=f"{which} between {len(report.readings)} models and states, from"
        f" {number(frame['value'].min())} to {number(frame['value'].max())}.",
    )  # fmt: skip
    lengths = " Lengths are in tokens, on average over the two models' tokenizers." if held else ""
    st.caption(
        f"{which} of each pair of models, with 95 % bootstrap intervals: 1 is the same order of the"
        " samples, 0 is no relation. The colours range from 0 to 1; negative values have the colour of 0."
        f"{lengths}"
    )


def _curves(report: Report, scores: pd.DataFrame, score: Score, tuned: bool) -> None:
    st.subheader("How are the scores distributed?", anchor=False)
    frame = charts.curve_frame(report, scores, score, tuned=tuned)
    if frame.empty:
        st.info("No model has a score above 0, so there is nothing to draw.")
        return
    chart(
        charts.curve_figure(frame), key="family_curves",
        alt=f"Distributions of the scores of {frame['name'].nunique()} models, overlaid, each divided by its"
        " own median, on a logarithmic axis.",
    )  # fmt: skip
    st.caption(
        "Each model's scores are divided by their own median, because the models have different units. The"
        " curves are smoothed. Thick lines are targets, dotted lines are untouched models."
        f" {plain(charts.outside_in_words(frame))}"
    )


def _likeness(report: Report, score: Score, tuned: bool, held: bool) -> None:
    st.subheader("How well do they agree with the target?", anchor=False)
    frame = charts.likeness_frame(report, score, tuned=tuned)
    _dots(frame, charts.likeness_panels(held=held), "Similarity to the target")
    untouched = "" if tuned else " Hollow dots are small models before fine-tuning."
    st.caption(
        f"Lines are 95 % bootstrap intervals. The interval of a small distance can be above its dot."
        f"{untouched} There are {report.strata} strata of equal width, without the hardest tenth."
    )


def _lengths(report: Report, score: Score) -> None:
    st.subheader("Do the scores depend on the response length?", anchor=False)
    sentences = words.lengths_in_words(report, score)
    _dots(charts.length_frame(report), charts.LENGTHS, "Correlation of each model's score with the length")
    st.caption(
        f"{plain(sentences)} Lengths are in tokens of each model's own tokenizer."
        " Hollow dots are untouched models."
    )


def _dots(frame: pd.DataFrame, panels: Mapping[str, charts.Panel], alt: str) -> None:
    """A grid with one chart per panel."""
    with st.grid(3, min_column_width=290):
        for index, (key, panel) in enumerate(panels.items()):
            with st.container(gap="xsmall"):
                st.markdown(f"**{panel.title}**")
                mine = frame[frame["panel"] == key]
                chart(
                    charts.dot_figure(mine, panel), key=f"family_dots_{index}_{len(panels)}",
                    alt=f"{alt}. {panel.title}, {panel.unit}: {charts.dots_in_words(mine)}",
                )  # fmt: skip


def _how(similarity: Similarity) -> None:
    with st.expander("Reproduce this similarity run", icon=":material/terminal:"):
        took = sum(load_timings(similarity.folder).values())
        st.caption(f"The run took {duration(took)}. The same as a command:")
        st.code(similarity_command(similarity.plan, similarity.compared), language="bash", wrap_lines=True)
        st.button(
            "Copy these settings to the form above",
            icon=":material/content_copy:",
            key="family_again",
            on_click=form.take_up,
            args=(similarity.plan, similarity.compared),
        )


main()
