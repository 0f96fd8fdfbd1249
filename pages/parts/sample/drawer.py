"""One sample in a drawer: its text, its tokens by loss, where it stands, its neighbours, why it was kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from pages.parts import links
from pages.parts.charts import chart
from pages.parts.page import errors
from pages.parts.state import results_version
from staff_engine.charts import samples as charts
from staff_engine.charts import tokens
from staff_engine.runs.folders import Run
from staff_engine.runs.results import Results
from staff_engine.samples import detail as sample_detail
from staff_engine.samples import neighbours, table
from staff_engine.samples.columns import SampleColumns
from staff_engine.samples.detail import SampleDetail, Standing, TurnDetail
from staff_engine.selection.coreset import Selection

ROLES = {"system": "System", "user": "Prompt", "assistant": "Response", "tool": "Tool"}
LONG_TEXT = 1500
"""Characters from which on a turn scrolls in a box of its own."""

NEIGHBOURS = 8

STANDS_AMONG = {"small": ("Small model", "others"), "target": ("Target", "other verified samples")}
"""By model: what it is called, and the samples that have a score on it."""


def show(results: Results, selection: Selection, columns: SampleColumns, rows: np.ndarray) -> None:
    """Show the link's sample at the side; `rows` is the order that previous and next go by."""
    st.dialog("Sample", width=760, position="right", on_dismiss=_close)(_show)(
        results, selection, columns, rows
    )


def choice_key(name: str) -> str:
    """The key of the table or map that a sample is chosen in."""
    return f"{name}_{st.session_state.setdefault('samples_choices', 0)}"


def forget_choice() -> None:
    """Begin a table or map in which nothing is chosen: what is chosen in one cannot be chosen there again."""
    st.session_state.samples_choices += 1


def _close() -> None:
    st.session_state.row = None
    forget_choice()


def _open(row_id: int) -> None:
    st.session_state.row = row_id


def _show(results: Results, selection: Selection, columns: SampleColumns, rows: np.ndarray) -> None:
    row_id = st.session_state.row
    _heading(columns, rows, row_id)
    st.text(sample_detail.why(columns, selection, row_id, within=st.session_state.within))
    with errors():
        detail = sample_detail.sample_detail(results, row_id)
    _text(detail)
    if columns.scorable[row_id]:
        _place(results, columns, row_id)
        _neighbours(results, columns, row_id)
    links.keep()


def _heading(columns: SampleColumns, rows: np.ndarray, row_id: int) -> None:
    at = np.flatnonzero(rows == row_id)
    before = int(rows[at[0] - 1]) if len(at) and at[0] > 0 else None
    after = int(rows[at[0] + 1]) if len(at) and at[0] + 1 < len(rows) else None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"Row {row_id:,}", anchor=False, width="content")
        if not columns.scorable[row_id]:
            st.badge("No score", icon=":material/block:", color="orange")
        elif columns.kept[row_id]:
            st.badge("Kept", icon=":material/check:", color="green")
        else:
            st.badge("Not kept", icon=":material/remove:", color="gray")
        if columns.verified[row_id]:
            st.badge("Verified", icon=":material/verified:", color="orange")
        st.space("stretch")
        for name, words, icon, row in (
            ("previous", "Previous", ":material/chevron_left:", before),
            ("next", "Next", ":material/chevron_right:", after),
        ):
            st.button(
                words, key=f"sample_{name}", icon=icon, icon_position="right" if name == "next" else "left",
                disabled=row is None, on_click=_open, args=(row,),
            )  # fmt: skip
    if len(at):
        st.caption(f"Number {at[0] + 1:,} of {len(rows):,} in the table's order")
    else:
        st.caption("Not among the samples that pass the filter")


def _text(detail: SampleDetail) -> None:
    coloured = any(turn.pieces for turn in detail.turns)
    for turn in detail.turns:
        as_read = ", as the model reads it" if turn.altered else ""
        st.caption(f"**{ROLES.get(turn.role, 'Other')}**{as_read}")
        with st.container(border=True, height=320 if len(turn.text) > LONG_TEXT else "content"):
            _turn(turn)
    if detail.line is not None:
        st.caption("**The row as it stands in the file**")
        st.code(detail.line, language=None, wrap_lines=True)
    if coloured:
        st.html(tokens.legend_html())
        st.caption(
            "The stronger the colour, the less the small model expected the token. Point at one for its loss."
        )
        with st.expander("Tokens of greatest loss", key="sample_hardest"):
            st.dataframe(
                tokens.hardest_tokens_frame(detail),
                hide_index=True,
                alt="Response tokens that the small model expected least, with their loss",
                column_config={
                    "token": st.column_config.TextColumn("Token"),
                    "loss": st.column_config.NumberColumn("Loss, nats", format="%.2f"),
                    "place": st.column_config.NumberColumn("Place in the response"),
                },
            )
    elif detail.no_losses:
        st.caption(detail.no_losses)


def _turn(turn: TurnDetail) -> None:
    if turn.pieces:
        st.html(tokens.tokens_html(turn))
    elif turn.text:
        st.text(turn.text)
    else:
        st.caption("Empty")


@st.cache_data(max_entries=8, show_spinner=False)
def _place_frame(run_id: str, version: str, model: str, _scores: np.ndarray) -> pd.DataFrame:
    return charts.place_frame(_scores)


def _place(results: Results, columns: SampleColumns, row_id: int) -> None:
    st.header("Where it stands", anchor=False)
    run = Run(results.folder.name, results.folder)
    version = results_version(run)
    sides = st.columns(2)
    for side, model, scores in (
        (sides[0], "small", columns.speculative),
        (sides[1], "target", columns.verification),
    ):
        with side:
            found = sample_detail.standing(scores, row_id)
            st.caption(_standing_words(found, model))
            if found is not None:
                frame = _place_frame(run.id, version, model, scores)
                chart(
                    charts.place_figure(frame, found.score, model=model),
                    key=f"sample_place_{model}",
                    alt=f"Distribution of the scores on the {model} model, with a line at this sample",
                )


def _standing_words(found: Standing | None, model: str) -> str:
    if found is None:
        return "**Target**: not verified, so the target has not scored it."
    name, others = STANDS_AMONG[model]
    if found.below == 0:
        stands = f"none of {found.others:,} {others} is easier"
    elif found.below == 1:
        stands = f"harder than all {found.others:,} {others}"
    else:
        stands = f"harder than {min(max(found.below, 0.01), 0.99):.0%} of {found.others:,} {others}"
    return f"**{name}**: score {found.score:.3g}, {stands}."


@st.cache_data(max_entries=64, show_spinner="Looking for samples like it …")
def _nearest(run_id: str, row_id: int, _results: Results) -> tuple[np.ndarray, np.ndarray]:
    return neighbours.nearest(_results.folder, row_id, NEIGHBOURS)


def _neighbours(results: Results, columns: SampleColumns, row_id: int) -> None:
    st.header("Samples like it", anchor=False)
    rows, similarities = _nearest(results.folder.name, row_id, results)
    if not len(rows):
        st.caption("This run kept no embeddings, so there is nothing to compare it by.")
        return
    frame = table.table_page(results.imported.folder, columns, rows).assign(similarity=similarities)
    key = f"sample_neighbours_{row_id}"
    st.dataframe(
        frame,
        key=key,
        hide_index=True,
        column_order=["row_id", "similarity", "score", "kept", "prompt", "response"],
        on_select=_open_neighbour,
        selection_mode=["single-row", "single-cell"],
        column_config={
            "row_id": st.column_config.NumberColumn("Row", width=60),
            "similarity": st.column_config.NumberColumn(
                "Alike",
                format="%.3f",
                width=70,
                help="Cosine of the embeddings on the small model; 1 is most.",
            ),
            "score": st.column_config.NumberColumn("Score", format="%.3g", width=70),
            "kept": st.column_config.CheckboxColumn("Kept", width=60),
            "prompt": st.column_config.TextColumn("Prompt", width=260),
            "response": st.column_config.TextColumn("Response", width=260),
        },
        alt="The samples nearest to this one by embedding; choose one to open it",
    )
    st.session_state.sample_neighbours = key, rows.tolist()
    st.caption("The nearest by embedding among all samples. Choose one to open it.")


def _open_neighbour() -> None:
    key, rows = st.session_state.sample_neighbours
    selection = st.session_state[key].selection
    places = [*selection.rows, *(cell[0] for cell in selection.cells)]
    if places:
        _open(rows[places[0]])
