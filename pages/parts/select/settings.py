"""The settings of a selection that are folded on Select."""

from __future__ import annotations

from typing import Any, get_args

import streamlit as st

from pages.parts.run import plan_field
from pages.parts.select import own_scores
from staff_engine.brought_scores import NO_MODEL, OWN
from staff_engine.plan import Plan
from staff_engine.runs.results import Results
from staff_engine.selection.ratios.rounds import NOT_ADAPTIVE
from staff_engine.selection.scores import SCORES

CHOICES = {
    "score": "Score",
    "strata_by": "Stratify by",
    "ratio": "Ratio",
    "allocation": "Allocation",
    "within": "Within a stratum",
    "drop_by": "Hardest by",
}
"""Settings that are chosen from a few values; the plan says which."""

LABELS = {
    **{name: score.label for name, score in SCORES.items()},
    "log": "Log width",
    "quantile": "Equal size",
    "released": "Released code",
    "hardest": "Hardest first",
    "score": "The same score",
}
"""Values whose label is more than the value with a capital."""


def show(results: Results) -> None:
    """The widgets, and a form that adds scores to the run."""
    with st.container(horizontal=True, gap="large"):
        for name, label in CHOICES.items():
            st.segmented_control(
                label,
                _allowed(name, results),
                format_func=lambda value: LABELS.get(value, value.removeprefix(OWN).capitalize()),
                key=name,
                required=True,
                persist_state="session",
                help=Plan.model_fields[name].description,
            )
    with st.container(horizontal=True, gap="large"):
        numbers: dict[str, tuple[str, dict[str, Any]]] = {
            "drop_hardest": ("Hardest dropped", {"step": 0.01, "format": "%.6g"}),
            "near_duplicates": ("Near duplicates from", {"step": 0.05, "format": "%.6g"}),
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
        st.toggle(
            "Drop at every length",
            key="drop_evenly",
            persist_state="session",
            help=Plan.model_fields["drop_evenly"].description,
        )
        st.toggle(
            "Verify in rounds",
            key="adaptive",
            persist_state="session",
            disabled=st.session_state.allocation == NOT_ADAPTIVE,
            help=Plan.model_fields["adaptive"].description,
        )
    own_scores.offer(results)


def _allowed(name: str, results: Results) -> tuple[str, ...]:
    """The values of a setting; for a score, those that the run has."""
    if name == "score":
        return results.score_names
    if name == "drop_by":
        return ("score", *results.score_names)
    if name == "ratio" and results.plan.target == NO_MODEL:
        return ("equal",)
    if name == "within" and results.plan.scores is not None:
        return ("random", "hardest")
    return get_args(Plan.model_fields[name].annotation)
