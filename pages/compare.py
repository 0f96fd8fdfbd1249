"""Compare: two selections of a run, STAFF and other methods, and how the target does after each."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from pages.parts import evaluation, methods, shared
from staff_engine.charts import comparison as charts
from staff_engine.charts.style import clipped
from staff_engine.plan import SELECTION_FIELDS
from staff_engine.runs.results import Results
from staff_engine.runs.saved_selections import list_saved
from staff_engine.samples import table as reading
from staff_engine.selection.overlap import compare_selections
from staff_engine.system.words import percent

SHOWN = 200
SHARES = ("pruning_rate", "drop_hardest")
CURRENT, PLAN = "current", "plan"
VIEWS = {
    "selections": "Two selections",
    "methods": "STAFF and other methods",
    "evaluation": "After fine-tuning",
}


def main() -> None:
    shared.header(
        "Compare",
        "Set two selections of this run against each other, or STAFF's coreset against what other methods"
        " would choose; and see how the target does after fine-tuning on each.",
    )
    results = shared.scored_results()
    st.segmented_control(
        "What to compare", list(VIEWS), key="compare_view", format_func=VIEWS.__getitem__, required=True,
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    if st.session_state.compare_view == "evaluation":
        with shared.errors():
            evaluation.show(results)
        return
    shared.filter_bar(results)
    if st.session_state.compare_view == "methods":
        with shared.errors():
            methods.show(results)
        return
    settings = _choices(results)
    names = _names(results)
    left, right = st.columns(2, gap="large")
    with left:
        a = _choose("compare_a", "First", names)
    with right:
        b = _choose("compare_b", "Second", names)
    _compare(results, (names[a], names[b]), settings[a], settings[b])


def _choices(results: Results) -> dict[str, dict[str, Any]]:
    """The settings of everything that can be compared."""
    plan = {name: getattr(results.plan, name) for name in SELECTION_FIELDS}
    saved = {each.id: dict(each.settings) for each in list_saved(results.folder)}
    return {CURRENT: shared.settings(), PLAN: plan, **saved}


def _names(results: Results) -> dict[str, str]:
    saved = {each.id: each.name for each in list_saved(results.folder)}
    return {CURRENT: "As set on Select", PLAN: "The run's plan", **saved}


def _choose(key: str, label: str, names: dict[str, str]) -> str:
    if st.session_state[key] not in names:
        st.warning(f"There is no selection {shared.plain(repr(st.session_state[key]))} in this run.")
        st.session_state[key] = CURRENT if key == "compare_a" else PLAN
    return st.selectbox(label, list(names), format_func=names.__getitem__, key=key, persist_state="session")


def _compare(results: Results, names: tuple[str, str], first: dict[str, Any], second: dict[str, Any]) -> None:
    a, b = shared.selection_of(results, first), shared.selection_of(results, second)
    found = compare_selections(a, b)
    if not len(found.only_a) and not len(found.only_b):
        st.info("Both are the same coreset. Turn the settings on Select, or choose another selection.")
        st.page_link(shared.page("select"), label="Go to Select", icon=":material/tune:")
        return
    with st.grid(4, min_column_width=225):
        st.metric("In both", f"{len(found.shared):,}")
        st.metric("Only in the first", f"{len(found.only_a):,}")
        st.metric("Only in the second", f"{len(found.only_b):,}")
        st.metric(
            "Overlap", f"{found.jaccard:.0%}", delta=f"{found.jaccard_by_chance:.0%} by chance",
            delta_color="off", delta_arrow="off",
            help="Samples in both, over samples in either (Jaccard). By chance: two coresets of these"
            " sizes, drawn without looking at scores.",
        )  # fmt: skip
    differing = {name: (first[name], second[name]) for name in first if first[name] != second[name]}
    if differing:
        st.caption("Settings that differ")
        st.table(
            {
                name.replace("_", " "): f"{_value(name, before)} → {_value(name, after)}"
                for name, (before, after) in differing.items()
            },
            border="horizontal", width="content", alt="Settings in which the two selections differ",
        )  # fmt: skip
    columns = shared.current_columns(results)
    passing = None if st.session_state.filter.empty else shared.current_mask(results)
    parts = [_passing(ids, passing) for ids in (a.indices, b.indices, found.only_a, found.only_b)]
    if passing is not None:
        st.caption(":material/filter_alt: Below, only samples that pass the filter are counted.")
    if not len(parts[0]) or not len(parts[1]):
        if passing is None or passing.any():
            st.info("No sample of one of the two passes the filter. Take a part of it away to compare.")
        return
    st.subheader("Where they come from", anchor=False)
    shared.chart(
        charts.strata_figure(charts.strata_frame(a.labels, parts[0], parts[1]), names),
        alt="Samples that each coreset takes of every stratum", key="compare_strata",
    )  # fmt: skip
    left, right = st.columns(2)
    for place, values, title in (
        (left, columns.speculative, "Score on the small model"),
        (right, columns.response_tokens, "Response length (tokens)"),
    ):
        with place:
            frame = charts.profile_frame(values, parts[0], parts[1])
            figure = charts.profile_figure(frame, names, x=title)
            shared.chart(figure, alt=f"{title} in both coresets", key=f"compare_{title[:5]}")
            if far := clipped(frame):
                st.caption(far)
    st.subheader("What only one of them has", anchor=False)
    for tab, ids, side in zip(
        st.tabs([f"Only in the first ({len(parts[2]):,})", f"Only in the second ({len(parts[3]):,})"]),
        parts[2:],
        ("a", "b"),
        strict=True,
    ):
        with tab:
            _table(results, ids, side)


def _value(name: str, value: Any) -> str:
    """A setting's value, as it is read."""
    return percent(value) if name in SHARES else str(value)


def _passing(ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return ids if mask is None else ids[mask[ids]]


def _table(results: Results, ids: np.ndarray, side: str) -> None:
    shown = ids[:SHOWN]
    if not len(shown):
        st.caption("None.")
        return
    first = f"The first {SHOWN} of {len(ids):,}. " if len(ids) > SHOWN else ""
    st.caption(f"{first}Choose a row to read it.")
    table = reading.table_page(results.imported.folder, shared.current_columns(results), shown)
    event = st.dataframe(
        table[["row_id", "score", "stratum", "prompt", "response"]],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"compare_table_{side}",
        column_config={
            "row_id": st.column_config.NumberColumn("Row", width=70),
            "score": st.column_config.NumberColumn("Score", format="%.3g", width=80),
            "stratum": st.column_config.NumberColumn("Stratum", width=80),
            "prompt": st.column_config.TextColumn("Prompt"),
            "response": st.column_config.TextColumn("Response"),
        },
        alt="Samples that only this coreset has",
    )
    if event.selection.rows:
        st.session_state.row = int(shown[event.selection.rows[0]])
        st.switch_page(shared.page("samples"))


main()
