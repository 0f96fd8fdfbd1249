"""One sample in a drawer: text, tokens by loss, rank of its scores, neighbours, why it was kept."""

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
"""A turn with more characters than this scrolls in its own box."""

NEIGHBOURS = 8

STANDS_AMONG = {"small": ("Small model", "others"), "target": ("Target", "other verified samples")}
"""For each model: its name, and the name of the samples that it has scored."""


def show(results: Results, selection: Selection, columns: SampleColumns, rows: np.ndarray) -> None:
    """Show the link's sample at the side; `rows` is the order for Previous and Next."""
    st.dialog("Sample", width=760, position="right", on_dismiss=_close)(_show)(
        results, selection, columns, rows
    )


def choice_key(name: str) -> str:
    """Widget key of a table or map in which a sample can be selected."""
    return f"{name}_{st.session_state.setdefault('samples_choices', 0)}"


def forget_choice() -> None:
    """Clear the selection of the table or map, so that the same sample can be selected again."""
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
        st.caption(f"{at[0] + 1:,} of {len(rows):,} in the order of the table")
    else:
        st.caption("This sample does not pass the filter")


def _text(detail: SampleDetail) -> None:
    coloured = any(turn.pieces for turn in detail.turns)
    for turn in detail.turns:
        as_read = ", as formatted for the model" if turn.altered else ""
        st.caption(f"**{ROLES.get(turn.role, 'Other')}**{as_read}")
        with st.container(border=True, height=320 if len(turn.text) > LONG_TEXT else "content"):
            _turn(turn)
    if detail.line is not None:
        st.caption("**The row in the file**")
        st.code(detail.line, language=None, wrap_lines=True)
    if coloured:
        st.html(tokens.legend_html())
        st.caption("The stronger the colour, the higher the loss. Point at a token to see its value.")
        with st.expander("Tokens with the highest loss", key="sample_hardest"):
            st.dataframe(
                tokens.hardest_tokens_frame(detail),
                hide_index=True,
                alt="Response tokens with the highest loss on the small model",
                column_config={
                    "token": st.column_config.TextColumn("Token"),
                    "loss": st.column_config.NumberColumn("Loss (nats)", format="%.2f"),
                    "place": st.column_config.NumberColumn("Position in the response"),
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
def _place_frame(folder: str, version: str, model: str, _scores: np.ndarray) -> pd.DataFrame:
    return charts.place_frame(_scores)


def _place(results: Results, columns: SampleColumns, row_id: int) -> None:
    st.header("Rank of its scores", anchor=False)
    run = Run(results.folder.name, results.folder)
    version = results_version(run)
    sides = st.columns(2)
    for side, model, scores in (
        (sides[0], "small", columns.speculative),
        (sides[1], "target", columns.verification),
    ):
        with side:
            standing = sample_detail.standing(scores, row_id)
            st.caption(_standing_words(standing, model))
            if standing is not None:
                frame = _place_frame(str(run.folder), version, model, scores)
                chart(
                    charts.place_figure(frame, standing.score, model=model),
                    key=f"sample_place_{model}",
                    alt=f"Distribution of the scores on the {model} model, with a line at this sample",
                )


def _standing_words(standing: Standing | None, model: str) -> str:
    if standing is None:
        return "**Target**: no score, because this sample is not verified."
    name, others = STANDS_AMONG[model]
    if standing.below == 0:
        rank = f"not harder than any of {standing.others:,} {others}"
    elif standing.below == 1:
        rank = f"harder than all {standing.others:,} {others}"
    else:
        rank = f"harder than {min(max(standing.below, 0.01), 0.99):.0%} of {standing.others:,} {others}"
    return f"**{name}**: score {standing.score:.3g}, {rank}."


@st.cache_data(max_entries=64, show_spinner="Searching for similar samples …")
def _nearest(folder: str, row_id: int, _results: Results) -> tuple[np.ndarray, np.ndarray]:
    return neighbours.nearest(_results.folder, row_id, NEIGHBOURS)


def _neighbours(results: Results, columns: SampleColumns, row_id: int) -> None:
    st.header("Similar samples", anchor=False)
    rows, similarities = _nearest(str(results.folder), row_id, results)
    if not len(rows):
        st.caption("This run has no embeddings, so similar samples cannot be found.")
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
                "Similarity",
                format="%.3f",
                width=85,
                help="Cosine similarity of the small model's embeddings; 1 is the maximum.",
            ),
            "score": st.column_config.NumberColumn("Score", format="%.3g", width=70),
            "kept": st.column_config.CheckboxColumn("Kept", width=60),
            "prompt": st.column_config.TextColumn("Prompt", width=260),
            "response": st.column_config.TextColumn("Response", width=260),
        },
        alt="The samples most similar to this one by embedding; select one to open it",
    )
    st.session_state.sample_neighbours = key, rows.tolist()
    st.caption("The nearest neighbours by embedding, among all samples. Select one to open it.")


def _open_neighbour() -> None:
    key, rows = st.session_state.sample_neighbours
    selection = st.session_state[key].selection
    chosen = [*selection.rows, *(cell[0] for cell in selection.cells)]
    if chosen:
        _open(rows[chosen[0]])
