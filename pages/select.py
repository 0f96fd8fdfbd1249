"""Select: change the settings, see the new coreset immediately, save it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.parts import brought, links, verifying
from pages.parts import saved as saved_part
from pages.parts.charts import chart
from pages.parts.filters import filter_bar, set_filter
from pages.parts.navigation import page_file
from pages.parts.page import header
from pages.parts.run import plan_field
from pages.parts.select import presets, settings
from pages.parts.state import current_mask, current_run, current_selection, scored_results, selection_of
from pages.parts.words import plain
from staff_engine.charts import selection as charts
from staff_engine.plan import Plan
from staff_engine.runs import cost
from staff_engine.runs.composition import kinds_in_words, response_lengths
from staff_engine.runs.results import Results
from staff_engine.runs.saved_selections import list_saved
from staff_engine.selection.coreset import Selection
from staff_engine.selection.overlap import overlap_of
from staff_engine.selection.strata import NO_SCORE
from staff_engine.system.words import counted, duration, saved_share

# The sliders have their own keys; the number field next to each holds the setting, with a wider range.
SLIDERS = {
    "strata": ("Strata (K)", 1, 200, 1, "%d"),
    "pruning_rate": ("Pruning rate", 0.0, 0.99, 0.01, "%.2f"),
}


def main() -> None:
    header(
        "Select",
        "Change a setting and the coreset updates immediately; no model is run. Strata are groups of samples"
        " with similar scores. Verified samples show which strata deserve more of the coreset.",
    )
    results = scored_results()
    brought.say(results.plan)
    studio(results)


@st.fragment
def studio(results: Results) -> None:
    """Everything that depends on the settings, rerun without the rest of the page."""
    run = current_run()
    results = scored_results()  # includes samples verified since the page was opened
    presets.choose(run, results)
    for column, name in zip(st.columns(2, gap="large"), SLIDERS, strict=True):
        with column:
            _dial(name)
    more = st.expander("More settings", icon=":material/tune:", on_change="rerun", key="select_more")
    if more.open:
        with more:
            settings.show(results)
    filter_bar(results)
    selection = current_selection(results)
    _figures(results, selection)
    _price(results, selection)
    _kinds(results, selection)
    presets.compare(results)
    verifying.offer(run, results)
    for warning in selection.warnings:
        st.caption(f":material/info: {plain(warning)}")
    _charts(results, selection)
    saved_part.keep_and_load(run, results)
    with st.container(horizontal=True):
        st.page_link(page_file("samples"), label="View the samples", icon=":material/table_rows:")
        st.page_link(page_file("export"), label="Export this coreset", icon=":material/download:")
    links.keep()


def _dial(name: str) -> None:
    """A slider, and a number field for exact values, also beyond the range of the slider."""
    label, low, high, step, form = SLIDERS[name]
    slider = f"_slider_{name}"
    st.session_state[slider] = min(max(st.session_state[name], low), high)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.slider(
            label, low, high, step=step, format=form, key=slider, on_change=_take_slider, args=(name,),
            help=Plan.model_fields[name].description,
        )  # fmt: skip
        st.number_input(
            f"{label}, exact value", **plan_field.bounds(name), step=step, key=name, persist_state="session",
            label_visibility="collapsed", width=130, format=None if name == "strata" else "%.6g",
        )  # fmt: skip


def _take_slider(name: str) -> None:
    st.session_state[name] = st.session_state[f"_slider_{name}"]


def _figures(results: Results, selection: Selection) -> None:
    scorable = int((selection.labels != NO_SCORE).sum())
    served = int((selection.budget > 0).sum())
    empty = int((selection.sizes == 0).sum())
    verified = len(results.verified_ids)
    took = cost.run_cost(results.summary, results.timings)
    saved = list_saved(results.folder)
    near = len(selection.duplicates)
    with st.grid(7, min_column_width=130):
        st.metric(
            "Samples", f"{scorable:,}",
            delta=counted(near, "near duplicate") if near else None, delta_color="off", delta_arrow="off",
            help="Rows that have a score. Below: those that are left out because an earlier row has almost"
            " the same text.",
        )  # fmt: skip
        st.metric(
            "Coreset", f"{len(selection.indices):,}",
            delta=_change(results, selection, saved[0].settings) if saved else None,
            delta_color="off", delta_arrow="off",
            help="Samples that are kept. Below: the change since the newest saved selection, if any.",
        )  # fmt: skip
        lengths = response_lengths(results, selection.indices)
        st.metric(
            "Response tokens", f"{lengths.token_share:.0%}",
            delta=f"median {lengths.coreset_median:,.0f}, data {lengths.data_median:,.0f}",
            delta_color="off", delta_arrow="off",
            help="The coreset's share of all response tokens. Below: the median response length in the"
            f" coreset and in the data. {lengths.sentence}",
        )  # fmt: skip
        st.metric(
            "Strata served", f"{served:,} of {len(selection.sizes):,}",
            delta=f"{empty:,} empty" if empty else None, delta_color="off", delta_arrow="off",
            help="Strata with at least one sample in the coreset.",
        )  # fmt: skip
        st.metric(
            "Verified", f"{verified:,}", delta=f"{verified / scorable:.0%} of the data",
            delta_color="off", delta_arrow="off", help="Samples that the target model has scored.",
        )  # fmt: skip
        st.metric(
            "Time saved", saved_share(took.saved),
            delta=took.full and f"of {duration(took.full)}", delta_color="off", delta_arrow="off",
            help="Compared with scoring every sample on the target, estimated from its measured speed."
            f" Fine-tuning, scoring and verifying took {duration(took.staff)}.",
        )  # fmt: skip
        st.metric(
            "Overhead", "?" if took.overhead is None else f"{took.overhead:.0%}",
            delta=took.training and f"of {duration(took.training + took.full)}",
            delta_color="off", delta_arrow="off",
            help="Time of this run, compared with fine-tuning the target on all samples and then scoring them"
            " all, as methods without a small model do. The target's fine-tuning time is an estimate: its"
            " scoring time multiplied by the small model's ratio of fine-tuning to scoring time.",
        )  # fmt: skip


def _price(results: Results, selection: Selection) -> None:
    """What the selection cost, and from when on it pays off."""
    took = cost.run_cost(results.summary, results.timings)
    found = cost.price(took, cost.token_share(results, selection.indices))
    st.caption(f":material/payments: {found.sentence}")


def _kinds(results: Results, selection: Selection) -> None:
    """What the coreset has of each kind of row, where the data says it."""
    sentence = kinds_in_words(results, selection.indices)
    if sentence:
        st.caption(f":material/category: {plain(sentence)}")


def _change(results: Results, selection: Selection, settings: dict[str, Any]) -> str:
    overlap = overlap_of(selection_of(results, settings), selection)
    if not len(overlap.only_a) and not len(overlap.only_b):
        return "no change since last saved"
    return f"+{len(overlap.only_b):,} −{len(overlap.only_a):,} since last saved"


def _charts(results: Results, selection: Selection) -> None:
    frame = charts.strata_frame(
        selection,
        per_stratum=st.session_state.verify_per_stratum,
        mask=None if st.session_state.filter.empty else current_mask(results),
    )
    st.subheader("Where the coreset comes from", anchor=False)
    st.caption(
        "A verification ratio above 1 means that the target finds a stratum harder than the small model does,"
        " so more of it is kept. Hollow points have too few verified samples. Drag over bars to filter all"
        " pages by these strata. In the bottom chart, the coreset favours easy samples above the dashed line"
        " and hard samples below it."
    )
    chart(
        charts.strata_figure(frame, charts.cumulative_frame(selection)),
        alt="Verification ratio, verified samples, samples and rate kept of each stratum, and the cumulative"
        " share of the coreset",
        key="select_strata",
        on_select=_choose_strata,
        selection_mode="box",
    )


def _choose_strata() -> None:
    chosen: set[int] = set()
    for point in st.session_state.select_strata.selection.points:
        ends = point.get("customdata")  # a list in Python, an object of the same from the browser
        if ends:  # the cumulative shares have none
            first, last, *_ = ends.values() if isinstance(ends, dict) else ends
            chosen.update(range(int(first), int(last) + 1))
    if chosen:
        set_filter(strata=tuple(sorted(chosen)))


main()
