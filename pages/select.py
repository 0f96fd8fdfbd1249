"""Select: turn the settings, see at once what the coreset becomes, keep it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.parts import links, plan_field, shared, verifying
from pages.parts import saved as saved_part
from staff_engine.charts import selection as charts
from staff_engine.plan import Plan
from staff_engine.runs import cost
from staff_engine.runs.results import Results
from staff_engine.runs.saved_selections import list_saved
from staff_engine.selection.coreset import Selection
from staff_engine.selection.overlap import compare_selections
from staff_engine.system.words import duration, saved_share

# The sliders' own keys; the number beside each holds the setting, and takes what the slider cannot.
SLIDERS = {
    "strata": ("Strata (K)", 1, 200, 1, "%d"),
    "pruning_rate": ("Pruning rate", 0.0, 0.99, 0.01, "%.2f"),
}
CHOICES = {
    "strata_by": ("Cut strata by", {"width": "Width", "log": "Log width", "quantile": "Equal size"}),
    "allocation": ("Allocation", {"paper": "Paper", "normalized": "Normalized"}),
    "within": ("Within a stratum", {"random": "Random", "hardest": "Hardest first"}),
}


def main() -> None:
    shared.header(
        "Select",
        "Turn the settings; the coreset answers at once, since no model runs. Strata are groups of samples"
        " of like score: the target's verification says which of them deserve more of the coreset.",
    )
    studio(shared.scored_results())


@st.fragment
def studio(results: Results) -> None:
    """Everything that moves with the settings, rerun without the rest of the page."""
    run = shared.current_run()
    results = shared.scored_results()  # what was verified meanwhile counts
    for column, name in zip(st.columns(2, gap="large"), SLIDERS, strict=True):
        with column:
            _dial(name)
    more = st.expander("More settings", icon=":material/tune:", on_change="rerun", key="select_more")
    if more.open:
        with more:
            _more_settings()
    shared.filter_bar(results)
    selection = shared.current_selection(results)
    _figures(results, selection)
    verifying.offer(run, results)
    for warning in selection.warnings:
        st.caption(f":material/info: {warning}")
    _charts(results, selection)
    saved_part.keep_and_load(run, results)
    with st.container(horizontal=True):
        st.page_link(shared.page("samples"), label="Read the samples", icon=":material/table_rows:")
        st.page_link(shared.page("export"), label="Export this coreset", icon=":material/download:")
    links.keep()


def _dial(name: str) -> None:
    """A slider, and a number beside it that also takes what lies beyond the slider's end."""
    label, low, high, step, form = SLIDERS[name]
    slider = f"_slider_{name}"
    st.session_state[slider] = min(max(st.session_state[name], low), high)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.slider(
            label, low, high, step=step, format=form, key=slider, on_change=_take_slider, args=(name,),
            help=Plan.model_fields[name].description,
        )  # fmt: skip
        st.number_input(
            f"{label}, exactly", **plan_field.bounds(name), step=step, key=name, persist_state="session",
            label_visibility="collapsed", width=130, format=None if name == "strata" else "%.6g",
        )  # fmt: skip


def _take_slider(name: str) -> None:
    st.session_state[name] = st.session_state[f"_slider_{name}"]


def _more_settings() -> None:
    with st.container(horizontal=True, gap="large"):
        for name, (label, options) in CHOICES.items():
            st.segmented_control(
                label,
                list(options),
                format_func=options.__getitem__,
                key=name,
                required=True,
                persist_state="session",
                help=Plan.model_fields[name].description,
            )
    with st.container(horizontal=True, gap="large"):
        numbers: dict[str, tuple[str, dict[str, Any]]] = {
            "drop_hardest": ("Hardest dropped", {"step": 0.01, "format": "%.6g"}),
            "verify_per_stratum": ("Verified per stratum (b_v)", {"step": 1}),
            "seed": ("Seed", {"step": 1}),
        }
        for name, (label, more) in numbers.items():
            st.number_input(
                label,
                **plan_field.bounds(name),
                key=name,
                persist_state="session",
                width=220,
                help=Plan.model_fields[name].description,
                **more,
            )


def _figures(results: Results, selection: Selection) -> None:
    scorable = int((selection.labels >= -1).sum())
    served = int((selection.budget > 0).sum())
    empty = int((selection.sizes == 0).sum())
    verified = len(results.verified_ids)
    took = cost.run_cost(results.summary, results.timings)
    saved = list_saved(results.folder)
    with st.grid(6, min_column_width=130):
        st.metric("Samples", f"{scorable:,}", help="Rows that have a score.")
        st.metric(
            "Coreset", f"{len(selection.indices):,}",
            delta=_change(results, selection, saved[0].settings) if saved else None,
            delta_color="off", delta_arrow="off",
            help="Samples that are kept. With saved selections: what changes against the newest of them.",
        )  # fmt: skip
        st.metric(
            "Strata served", f"{served:,} of {len(selection.sizes):,}",
            delta=f"{empty:,} empty" if empty else None, delta_color="off", delta_arrow="off",
            help="Strata that give at least one sample.",
        )  # fmt: skip
        st.metric(
            "Verified", f"{verified:,}", delta=f"{verified / scorable:.0%} of the data",
            delta_color="off", delta_arrow="off", help="Samples that the target model has scored.",
        )  # fmt: skip
        st.metric(
            "Time saved", saved_share(took.saved),
            delta=took.full and f"of {duration(took.full)}", delta_color="off", delta_arrow="off",
            help="Against letting the target score every sample: its measured speed, times all tokens."
            f" Fine-tuning, scoring and verifying took {duration(took.staff)}.",
        )  # fmt: skip
        st.metric(
            "Overhead", "?" if took.overhead is None else f"{took.overhead:.0%}",
            delta=took.training and f"of {duration(took.training + took.full)}",
            delta_color="off", delta_arrow="off",
            help="The same time against fine-tuning the target on everything and then scoring everything on"
            " it, as methods without a small model do. The target's fine-tuning is an estimate: as many times"
            " its scoring as the small model's was.",
        )  # fmt: skip


def _change(results: Results, selection: Selection, settings: dict[str, Any]) -> str:
    compared = compare_selections(shared.selection_of(results, settings), selection)
    if not len(compared.only_a) and not len(compared.only_b):
        return "as last saved"
    return f"+{len(compared.only_b):,} −{len(compared.only_a):,} since last saved"


def _charts(results: Results, selection: Selection) -> None:
    frame = charts.strata_frame(
        selection,
        per_stratum=st.session_state.verify_per_stratum,
        mask=None if st.session_state.filter.empty else shared.current_mask(results),
    )
    st.subheader("Where the coreset comes from", anchor=False)
    st.caption(
        "Above 1, the target finds a stratum harder than the small model does, and more of it is kept."
        " Below it stand the verified samples that a ratio rests on; hollow points rest on too few. Drag over"
        " bars to look at those strata on every page. At the foot: above the dashed line the coreset leans to"
        " easy samples, below it to hard ones."
    )
    shared.chart(
        charts.strata_figure(frame, charts.cumulative_frame(selection)),
        alt="Verification ratio, verified samples, samples and rate kept of each stratum, and the coreset's"
        " running share",
        key="select_strata",
        on_select=_choose_strata,
        selection_mode="box",
    )


def _choose_strata() -> None:
    chosen: set[int] = set()
    for point in st.session_state.select_strata.selection.points:
        ends = point.get("customdata")  # a list in Python, an object of the same from the browser
        if ends:  # the running shares have none
            first, last, *_ = ends.values() if isinstance(ends, dict) else ends
            chosen.update(range(int(first), int(last) + 1))
    if chosen:
        shared.set_filter(strata=tuple(sorted(chosen)))


main()
