"""Filter widgets of the Samples page; each shows and changes one part of the shared filter."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from pages.parts.filters import set_filter
from staff_engine.samples.columns import SampleColumns
from staff_engine.samples.filters import Filter
from staff_engine.selection.coreset import Selection
from staff_engine.selection.strata import DROPPED, DUPLICATE

RANGES = {
    "score": ("Score on the small model", "speculative", "%.4g"),
    "tokens": ("Response tokens", "response_tokens", "%.0f"),
}
CHOICES = {
    "kept": {"all": "Kept or not", "yes": "Kept", "no": "Not kept"},
    "verified": {"all": "Verified or not", "yes": "Verified on the target", "no": "Not verified"},
    "scorable": {"all": "With or without a score", "yes": "With a score", "no": "Without a score"},
}
NO_STRATUM = {DROPPED: "hardest, dropped", DUPLICATE: "near duplicates, left out"}
MEANINGS = {"all": None, "yes": True, "no": False}


def popover(columns: SampleColumns, selection: Selection) -> None:
    """A button that opens the filter's widgets."""
    chosen: Filter = st.session_state.filter
    set_parts = len(chosen.words())
    label = f"Filter ({set_parts})" if set_parts else "Filter"
    with st.popover(label, icon=":material/filter_list:", key="filter_popover"):
        _set("text", chosen.text)
        st.text_input(
            "Text in prompt or response",
            key="filter_edit_text",
            placeholder="Literal text, ignoring case",
            on_change=_take,
            args=("text",),
        )
        _set("strata", list(chosen.strata))
        filled = {*np.flatnonzero(selection.sizes).tolist(), DROPPED, *chosen.strata}
        if len(selection.duplicates):
            filled.add(DUPLICATE)
        st.multiselect(
            "Strata",
            sorted(filled),
            key="filter_edit_strata",
            format_func=lambda stratum: NO_STRATUM.get(stratum, str(stratum)),
            placeholder="All",
            help="Stratum 0 has the easiest samples.",
            on_change=_take,
            args=("strata",),
        )
        for name, (label, column, format) in RANGES.items():
            _range(name, label, format, getattr(columns, column)[columns.scorable])
        for name, words in CHOICES.items():
            _set(name, {None: "all", True: "yes", False: "no"}[getattr(chosen, name)])
            st.segmented_control(
                name.capitalize(),
                list(words),
                key=f"filter_edit_{name}",
                format_func=words.__getitem__,
                label_visibility="collapsed",
                required=True,
                on_change=_take,
                args=(name,),
            )


def _set(name: str, value: Any) -> None:
    """Show the value of the filter, which may have been set on another page."""
    st.session_state[f"filter_edit_{name}"] = value


def _take(name: str) -> None:
    value = st.session_state[f"filter_edit_{name}"]
    if name == "strata":
        value = tuple(sorted(value))
    elif name in CHOICES:
        value = MEANINGS[value]
    set_filter(**{name: value})


def _range(name: str, label: str, format: str, values: np.ndarray) -> None:
    """Two fields, from and to; an empty field leaves the range open."""
    bounds = getattr(st.session_state.filter, name)
    least, greatest = _ends(values)
    for end, place, edge in (("from", 0, least), ("to", 1, greatest)):
        set_here = bounds is not None and bounds[place] != edge
        _set(f"{name}_{end}", bounds[place] if set_here else None)
    low, high = st.columns(2)
    for column, end, edge in ((low, "from", least), (high, "to", greatest)):
        column.number_input(
            f"{label}, {end}",
            key=f"filter_edit_{name}_{end}",
            value=None,
            placeholder=format % edge,
            format=format,
            step=1.0 if name == "tokens" else 0.1,
            on_change=_take_range,
            args=(name, least, greatest),
        )


def _ends(values: np.ndarray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def _take_range(name: str, least: float, greatest: float) -> None:
    low = st.session_state[f"filter_edit_{name}_from"]
    high = st.session_state[f"filter_edit_{name}_to"]
    if low is None and high is None:
        set_filter(**{name: None})
        return
    bounds = (least if low is None else low, greatest if high is None else high)
    set_filter(**{name: (min(bounds), max(bounds))})
