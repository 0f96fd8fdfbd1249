"""Presets of the selection: choose one; and two side by side, with what each keeps, and from which strata."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.parts import verifying
from pages.parts.charts import chart
from pages.parts.navigation import page_file
from pages.parts.state import current_settings, selection_of
from pages.parts.words import plain
from staff_engine.charts import overlap as charts
from staff_engine.pipelines.demo import is_demo
from staff_engine.plan import SELECTION_FIELDS
from staff_engine.presets import PRESETS, Preset, preset_of
from staff_engine.runs.composition import kinds_in_words, response_lengths
from staff_engine.runs.folders import Run
from staff_engine.runs.results import Results
from staff_engine.selection.overlap import overlap_of
from staff_engine.selection.scores import SCORES

SIDES = ("paper", "studio")
"""The presets that are compared."""

PREFIX = "preset:"
"""Marks a preset among the selections that the Compare page offers: no saved selection has such an id."""


CUSTOM = "custom"
KEY = "_select_preset"


def offered(results: Results) -> dict[str, Preset]:
    """The presets whose scores a run has, by name."""
    return {name: preset for name, preset in PRESETS.items() if not _lacking(results, preset)}


def _lacking(results: Results, preset: Preset) -> list[str]:
    """The labels of the scores that a preset uses and a run does not have."""
    used = dict.fromkeys(str(preset.settings[name]) for name in ("score", "drop_by"))
    return [SCORES[name].label for name in used if name in SCORES and results.lacks(name)]


def choose(run: Run, results: Results) -> None:
    """A selector of presets, which set all settings but the pruning rate and the seed; else Custom.

    A preset that needs a score which the run does not have is not offered, but the score is.
    """
    current = preset_of({name: st.session_state[name] for name in SELECTION_FIELDS}) or CUSTOM
    st.session_state[KEY] = current
    presets = offered(results)
    labels = {name: preset.label for name, preset in presets.items()} | {CUSTOM: "Custom"}
    st.segmented_control(
        "Preset",
        list(labels),
        format_func=labels.__getitem__,
        key=KEY,
        required=True,
        on_change=_take,
        help="A named set of settings. "
        + " ".join(f"**{preset.label}**: {preset.sentence}" for preset in presets.values()),
    )
    if current != CUSTOM:
        st.caption(PRESETS[current].sentence)
    for preset in PRESETS.values() if results.plan.scores is None else ():
        if scores := _lacking(results, preset):
            st.caption(f"The preset {preset.label} needs the score {', '.join(scores)}.")
            verifying.offer_ifd(run, results)


def _take() -> None:
    chosen = st.session_state[KEY]
    if chosen == CUSTOM:
        st.session_state.select_more = True
    else:
        st.session_state.update(PRESETS[chosen].settings)


def settings_of(preset: str) -> dict[str, Any]:
    """The current selection settings with those of a preset."""
    return {**current_settings(), **PRESETS[preset].settings}


def compare(results: Results) -> None:
    """An expander that compares the two presets; open in the demo, else closed until it is wanted.

    Nothing if the run lacks a score that one of them needs.
    """
    if not set(SIDES) <= offered(results).keys():
        return
    names = tuple(PRESETS[side].label for side in SIDES)
    shown = st.expander(
        f"{names[0]} and {names[1]} side by side", icon=":material/compare:", expanded=is_demo(results.plan),
        on_change="rerun", key=f"select_presets_{results.folder.name}",
    )  # fmt: skip
    if shown.open:
        with shown:
            _compare(results, names)


def _compare(results: Results, names: tuple[str, ...]) -> None:
    first, second = (selection_of(results, settings_of(side)) for side in SIDES)
    overlap = overlap_of(first, second)
    lengths = [response_lengths(results, each.indices) for each in (first, second)]
    st.caption(
        f"Both keep {len(first.indices):,} samples at this pruning rate and seed."
        f" {len(overlap.shared):,} of them are in both (overlap {overlap.jaccard:.0%}; two random coresets"
        f" would have {overlap.jaccard_by_chance:.0%})."
    )
    for name, selection in zip(names, (first, second), strict=True):
        if kinds := kinds_in_words(results, selection.indices):
            st.caption(f"**{name}**: {plain(kinds)}")
    frame = charts.budget_frame(dict(zip(names, (first, second), strict=True)), lengths)
    st.dataframe(
        frame,
        hide_index=True,
        key="select_presets_table",
        column_config={
            "Response tokens": st.column_config.NumberColumn(format="percent"),
            "Median response": st.column_config.NumberColumn(format="%.0f tokens"),
        },
        alt=f"What the presets {names[0]} and {names[1]} keep",
    )
    chart(
        charts.strata_figure(
            charts.strata_frame(first.labels, first.indices, second.indices), (names[0], names[1])
        ),
        alt=f"Samples that {names[0]} and {names[1]} keep in each stratum of {names[0]}",
        key="select_presets_strata",
    )
    st.caption(f"The strata are those of {names[0]}: equal widths of effort, easiest to hardest.")
    if st.button("Compare their samples", icon=":material/compare_arrows:", key="select_presets_more"):
        st.session_state.update(
            compare_view="selections", compare_a=f"{PREFIX}{SIDES[0]}", compare_b=f"{PREFIX}{SIDES[1]}"
        )
        st.switch_page(page_file("compare"))
