"""The map of the embeddings on the Samples page: click a sample to open it, or select an area."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.parts.cache import shared
from pages.parts.filters import set_filter
from pages.parts.sample import drawer
from pages.parts.state import current_mask
from staff_engine.charts import embedding_map
from staff_engine.runs.results import Results
from staff_engine.samples import neighbours
from staff_engine.samples.columns import SampleColumns
from staff_engine.selection.coreset import Selection

COLORINGS = {"stratum": "By stratum", "score": "By score", "kept": "By kept or not"}
MAP_USES = {"read": ":material/ads_click: Open a sample", "choose": ":material/select: Select an area"}


def controls() -> None:
    """Controls for the colour of the points and the action of the pointer."""
    st.segmented_control(
        "Colour by",
        list(COLORINGS),
        key="map_color",
        format_func=COLORINGS.__getitem__,
        label_visibility="collapsed",
        required=True,
        persist_state="session",
    )
    st.session_state.setdefault("samples_map_use", "read")
    st.segmented_control(
        "On the map",
        list(MAP_USES),
        key="samples_map_use",
        format_func=MAP_USES.__getitem__,
        label_visibility="collapsed",
        required=True,
        persist_state="session",
    )


def show(results: Results, columns: SampleColumns, selection: Selection) -> None:
    made = _embedding_map(results.folder, results)
    if made.empty:
        st.info("This run has no embeddings, so there is no map.", icon=":material/scatter_plot:")
        return
    color = st.session_state.map_color
    frame = embedding_map.map_frame(made.coordinates, columns, current_mask(results))
    figure = embedding_map.map_figure(
        frame,
        color=color,
        explained=made.explained,
        score_range=embedding_map.score_range(columns.speculative),
        num_strata=len(selection.sizes),
        total=len(columns),
    )
    reading_one = st.session_state.samples_map_use == "read"
    # Streamlit reports no clicks while dragging draws a box, so there are two modes.
    figure.update_layout(dragmode="pan" if reading_one else "select")
    st.plotly_chart(
        figure,
        key=drawer.choice_key(f"samples_map_{st.session_state.samples_map_use}"),
        alt=f"Map of the samples by their embeddings, coloured {COLORINGS[color].lower()}",
        on_select=_chosen_on_map,
        selection_mode="points" if reading_one else "box",
        config={"displaylogo": False, "modeBarButtons": [["zoomIn2d", "zoomOut2d", "resetScale2d"]]},
    )
    st.caption(
        "Samples with similar embeddings are close to each other. "
        + ("Click a sample to open it." if reading_one else "Drag a box to filter all pages by its samples.")
    )


@shared("Computing the map …")
def _embedding_map(folder: Path, _results: Results) -> neighbours.EmbeddingMap:
    return neighbours.embedding_map(_results)


def _chosen_on_map() -> None:
    used = st.session_state.samples_map_use
    selection = st.session_state[drawer.choice_key(f"samples_map_{used}")].selection
    if selection.box:
        box = selection.box[0]
        set_filter(map_x=_ends(box["x"]), map_y=_ends(box["y"]))
    elif selection.points:
        st.session_state.row = int(selection.points[0]["customdata"][0])


def _ends(values: list[float]) -> tuple[float, float]:
    return float(min(values)), float(max(values))
