"""Samples: all imported rows, as a table or as a map of the embeddings, and one row in detail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.parts import brought
from pages.parts.cache import shared
from pages.parts.filters import filter_bar
from pages.parts.page import errors, header
from pages.parts.sample import drawer, embeddings, filter_form
from pages.parts.state import (
    current_columns,
    current_mask,
    current_selection,
    current_settings,
    results_version,
    scored_results,
)
from pages.parts.words import plain
from staff_engine.runs.folders import Run
from staff_engine.runs.results import Results
from staff_engine.samples import table
from staff_engine.samples.columns import SampleColumns
from staff_engine.selection.coreset import Selection

PAGE_ROWS = 25

HEADINGS = {
    "row_id": "Row",
    "kept": "Kept",
    "score": "Score",
    "stratum": "Stratum",
    "prompt": "Prompt",
    "response": "Response",
    "verification": "Target's score",
    "loss": "Loss",
    "tokens": "Tokens",
}  # the columns that the table can be sorted by, in display order

VIEWS = {"table": ":material/table_rows: Table", "map": ":material/scatter_plot: Map"}

Key = tuple[Any, ...]


def main() -> None:
    header(
        "Samples",
        "Every row of the data: its text, how hard it is for the small model, and why it was kept or not.",
    )
    results = scored_results()
    brought.say(results.plan)
    selection = current_selection(results)
    columns = current_columns(results)
    _check_link(columns)
    with errors():
        _controls(columns, selection)
        filter_bar(results)
        rows = _sorted(_key(results), _sorting(), results, columns, current_mask(results))
        if len(rows) and st.session_state.samples_view == "map":
            embeddings.show(results, columns, selection)
        elif len(rows):
            _show_table(results, columns, rows)
        if st.session_state.row is not None:
            drawer.show(results, selection, columns, rows)


def _key(results: Results) -> Key:
    """Cache key of the filtered rows: everything that they depend on."""
    run = Run(results.folder.name, results.folder)
    chosen = tuple(current_settings().items())
    return run.folder, results_version(run), chosen, st.session_state.filter


def _sorting() -> tuple[str, bool]:
    return st.session_state.samples_sort, st.session_state.samples_order == "descending"


def _check_link(columns: SampleColumns) -> None:
    """Warn about, and reset, values of the link that do not exist in this run."""
    row = st.session_state.row
    if row is not None and row >= len(columns):
        st.warning(f"The link's row is {row:,}; this run has rows 0 to {len(columns) - 1:,}.")
        st.session_state.row = None
    sort = st.session_state.samples_sort
    if sort not in HEADINGS:
        st.warning(
            f"The link's samples_sort is {plain(repr(sort))}; allowed: {', '.join(HEADINGS)}."
            " The default, row_id, is used."
        )
        st.session_state.samples_sort = "row_id"


def _controls(columns: SampleColumns, selection: Selection) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.segmented_control(
            "View",
            list(VIEWS),
            key="samples_view",
            format_func=VIEWS.__getitem__,
            label_visibility="collapsed",
            required=True,
            persist_state="session",
        )
        filter_form.popover(columns, selection)
        if st.session_state.samples_view == "map":
            embeddings.controls()
        else:
            st.selectbox(
                "Sort by",
                list(HEADINGS),
                key="samples_sort",
                format_func=lambda name: f"Sort by {HEADINGS[name].lower()}",
                label_visibility="collapsed",
                width=210,
                persist_state="session",
                on_change=_to_first_page,
            )
            st.segmented_control(
                "Order",
                ["ascending", "descending"],
                key="samples_order",
                format_func=str.capitalize,
                label_visibility="collapsed",
                required=True,
                persist_state="session",
                on_change=_to_first_page,
            )


def _to_first_page() -> None:
    st.session_state.samples_page = 1


@shared("Sorting …")
def _sorted(
    key: Key, sorting: tuple[str, bool], _results: Results, _columns: SampleColumns, _mask: np.ndarray
) -> np.ndarray:
    sort, descending = sorting
    ranks = _ranks(key[0], sort, _results) if sort in table.TEXTS else None
    return table.sorted_rows(_columns, _mask, sort=sort, descending=descending, ranks=ranks)


@shared()
def _ranks(folder: Path, which: str, _results: Results) -> np.ndarray:
    return table.text_ranks(_results.imported.folder, which)


def _show_table(results: Results, columns: SampleColumns, rows: np.ndarray) -> None:
    pages = -(-len(rows) // PAGE_ROWS)
    if not 1 <= st.session_state.samples_page <= pages:
        st.session_state.samples_page = min(max(st.session_state.samples_page, 1), pages)
    slot = st.container()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        count = st.container(width="content")
        page = st.pagination(pages, key="samples_page", persist_state="session")
    first = (page - 1) * PAGE_ROWS
    shown = rows[first : first + PAGE_ROWS]
    count.caption(
        f"Rows {first + 1:,} to {first + len(shown):,} of {len(rows):,}."
        " Click a row to open it, or a heading to sort."
    )
    frame = table.table_page(results.imported.folder, columns, shown)
    slot.dataframe(
        frame,
        key=drawer.choice_key("samples_table"),
        hide_index=True,
        column_order=[*HEADINGS, "why"],
        height="content",
        placeholder="–",
        on_select=_chosen_in_table,
        selection_mode=["single-row", "single-cell", "single-column"],
        column_config=_column_config(),
        alt="Table of samples; select a row to open it, or a column to sort by it",
    )
    st.session_state.samples_shown = shown.tolist()


def _column_config() -> dict[str, Any]:
    sort, descending = _sorting()
    words = {**HEADINGS, sort: f"{HEADINGS[sort]} {'↓' if descending else '↑'}"}
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "row_id": number(words["row_id"], width=70, pinned=True),
        "score": number(
            words["score"], width=80, format="%.3g", help="Effort on the small model; higher is harder."
        ),
        "verification": number(
            words["verification"],
            width=110,
            format="%.3g",
            help="Effort on the target, if the sample is verified.",
        ),
        "stratum": number(words["stratum"], width=85, help="Score range; stratum 0 has the easiest samples."),
        "kept": st.column_config.CheckboxColumn(words["kept"], width=70),
        "prompt": text(words["prompt"], width=275),
        "response": text(words["response"], width=275),
        "loss": number(
            words["loss"],
            width=80,
            format="%.3g",
            help="Mean loss on the small model, in nats per response token.",
        ),
        "tokens": number(words["tokens"], width=80, help="Number of response tokens."),
        "why": text("Why", width=260),
    }


def _chosen_in_table() -> None:
    """Open the sample of a selected row or cell; sort by a selected column, descending the second time."""
    selection = st.session_state[drawer.choice_key("samples_table")].selection
    shown = st.session_state.samples_shown
    chosen = [*selection.rows, *(cell[0] for cell in selection.cells)]
    if chosen and chosen[0] < len(shown):
        st.session_state.row = shown[chosen[0]]
    for name in selection.columns:
        if name in HEADINGS:
            again = st.session_state.samples_sort == name and st.session_state.samples_order == "ascending"
            st.session_state.samples_order = "descending" if again else "ascending"
            st.session_state.samples_sort = name
            _to_first_page()
            drawer.forget_choice()


main()
