"""Overlap on the Compare page: samples in both of two selections, and samples in only one."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from pages.parts.charts import chart
from pages.parts.filters import filter_bar
from pages.parts.navigation import page_file
from pages.parts.select import presets
from pages.parts.state import current_columns, current_mask, current_settings, selection_of
from pages.parts.words import plain
from staff_engine.charts import overlap as charts
from staff_engine.charts.style import clipped
from staff_engine.plan import PRESETS, SELECTION_FIELDS
from staff_engine.runs.results import Results
from staff_engine.runs.saved_selections import list_saved
from staff_engine.samples import table as reading
from staff_engine.selection.overlap import overlap_of
from staff_engine.system.words import percent

SHOWN = 200
SHARES = ("pruning_rate", "drop_hardest")
CURRENT, PLAN = "current", "plan"


def show(results: Results) -> None:
    """Selectors for two selections, their overlap, their strata and their differences."""
    filter_bar(results)
    settings = _choices(results)
    names = _names(results)
    left, right = st.columns(2, gap="large")
    with left:
        a = _choose("compare_a", "First", names)
    with right:
        b = _choose("compare_b", "Second", names)
    _compare(results, (names[a], names[b]), settings[a], settings[b])


def _choices(results: Results) -> dict[str, dict[str, Any]]:
    """The settings of each selection that can be compared."""
    plan = {name: getattr(results.plan, name) for name in SELECTION_FIELDS}
    saved = {each.id: dict(each.settings) for each in list_saved(results.folder)}
    of_presets = {f"{presets.PREFIX}{name}": presets.settings_of(name) for name in PRESETS}
    return {CURRENT: current_settings(), PLAN: plan, **of_presets, **saved}


def _names(results: Results) -> dict[str, str]:
    saved = {each.id: each.name for each in list_saved(results.folder)}
    of_presets = {f"{presets.PREFIX}{name}": f"Preset {each.label}" for name, each in PRESETS.items()}
    return {CURRENT: "As set on Select", PLAN: "The run's plan", **of_presets, **saved}


def _choose(key: str, label: str, names: dict[str, str]) -> str:
    if st.session_state[key] not in names:
        st.warning(f"There is no selection {plain(repr(st.session_state[key]))} in this run.")
        st.session_state[key] = CURRENT if key == "compare_a" else PLAN
    return st.selectbox(label, list(names), format_func=names.__getitem__, key=key, persist_state="session")


def _compare(results: Results, names: tuple[str, str], first: dict[str, Any], second: dict[str, Any]) -> None:
    a, b = selection_of(results, first), selection_of(results, second)
    overlap = overlap_of(a, b)
    if not len(overlap.only_a) and not len(overlap.only_b):
        st.info(
            "Both selections give the same coreset. Change the settings on Select, or choose another one."
        )
        st.page_link(page_file("select"), label="Go to Select", icon=":material/tune:")
        return
    with st.grid(4, min_column_width=225):
        st.metric("In both", f"{len(overlap.shared):,}")
        st.metric("Only in the first", f"{len(overlap.only_a):,}")
        st.metric("Only in the second", f"{len(overlap.only_b):,}")
        st.metric(
            "Overlap", f"{overlap.jaccard:.0%}", delta=f"{overlap.jaccard_by_chance:.0%} by chance",
            delta_color="off", delta_arrow="off",
            help="Samples in both, divided by samples in either (Jaccard index). By chance: the expected"
            " overlap of two random coresets of these sizes.",
        )  # fmt: skip
    differing = {name: (first[name], second[name]) for name in first if first[name] != second[name]}
    if differing:
        st.caption("Different settings")
        st.table(
            {
                name.replace("_", " "): f"{_value(name, before)} → {_value(name, after)}"
                for name, (before, after) in differing.items()
            },
            border="horizontal", width="content", alt="Settings that differ between the two selections",
        )  # fmt: skip
    columns = current_columns(results)
    passing = None if st.session_state.filter.empty else current_mask(results)
    parts = [_passing(ids, passing) for ids in (a.indices, b.indices, overlap.only_a, overlap.only_b)]
    if passing is not None:
        st.caption(":material/filter_alt: The charts below count only samples that pass the filter.")
    if not len(parts[0]) or not len(parts[1]):
        if passing is None or passing.any():
            st.info("No sample of one of the two passes the filter. Remove part of the filter to compare.")
        return
    st.subheader("Samples by stratum", anchor=False)
    chart(
        charts.strata_figure(charts.strata_frame(a.labels, parts[0], parts[1]), names),
        alt="Number of samples of each coreset in each stratum", key="compare_strata",
    )  # fmt: skip
    left, right = st.columns(2)
    for column, values, title in (
        (left, columns.speculative, "Score on the small model"),
        (right, columns.response_tokens, "Response length (tokens)"),
    ):
        with column:
            frame = charts.profile_frame(values, parts[0], parts[1])
            figure = charts.profile_figure(frame, names, x=title)
            chart(figure, alt=f"{title} in both coresets", key=f"compare_{title[:5]}")
            if far := clipped(frame):
                st.caption(far)
    st.subheader("Samples in only one of them", anchor=False)
    for tab, ids, side in zip(
        st.tabs([f"Only in the first ({len(parts[2]):,})", f"Only in the second ({len(parts[3]):,})"]),
        parts[2:],
        ("a", "b"),
        strict=True,
    ):
        with tab:
            _table(results, ids, side)


def _value(name: str, value: Any) -> str:
    """A setting's value for display."""
    return percent(value) if name in SHARES else str(value)


def _passing(ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return ids if mask is None else ids[mask[ids]]


def _table(results: Results, ids: np.ndarray, side: str) -> None:
    shown = ids[:SHOWN]
    if not len(shown):
        st.caption("None.")
        return
    first = f"The first {SHOWN} of {len(ids):,}. " if len(ids) > SHOWN else ""
    st.caption(f"{first}Select a row to open it.")
    table = reading.table_page(results.imported.folder, current_columns(results), shown)
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
        alt="Samples in this coreset only",
    )
    if event.selection.rows:
        st.session_state.row = int(shown[event.selection.rows[0]])
        st.switch_page(page_file("samples"))
