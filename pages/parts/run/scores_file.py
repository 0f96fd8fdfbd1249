"""Scores of a file in place of a small model, in the form for a new run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from pages.parts.run import plan_field
from pages.parts.words import plain, sentence
from staff_engine.brought_scores import NO_MODEL
from staff_engine.data.sources import keep_upload, shown_file
from staff_engine.errors import StaffError
from staff_engine.plan import Plan
from staff_engine.scoring.own_scores import scores_in
from staff_engine.scoring.score_files import SUFFIXES

MODEL, FILE = "A small model", "A file of scores"

NOT_NEEDED = {"small": NO_MODEL, "ifd": False, "checkpoints": 0}
"""Settings of a run with scores of a file, whatever the widgets say."""

UNVERIFIED = {"target": NO_MODEL, "ratio": "equal", "tune_target": 0}
"""Settings of such a run without a target."""


def is_chosen() -> bool:
    """Show the choice between a small model and a file; return whether it is a file.

    `plan_scores` in the session is None for a small model, "" for a file that is not chosen yet.
    """
    st.session_state.plan_scores_from = MODEL if st.session_state.plan_scores is None else FILE
    st.segmented_control(
        "Scores from",
        [MODEL, FILE],
        key="plan_scores_from",
        required=True,
        on_change=_take,
        help="A small model scores how hard each sample is. If another tool has already scored your data,"
        " choose its file: no small model is needed.",
    )
    return st.session_state.plan_scores is not None


def _take() -> None:
    from_file = st.session_state.plan_scores_from == FILE
    st.session_state.plan_scores = "" if from_file else None
    for name, default in plan_field.DEFAULT_MODELS.items():
        if st.session_state[f"plan_{name}"] == NO_MODEL:
            st.session_state[f"plan_{name}"] = default
    st.session_state.plan_score = Plan.model_fields["score"].default
    st.session_state.plan_ratio = Plan.model_fields["ratio"].default


def choose() -> dict[str, Any] | None:
    """Choose the file, its key and score, and a target; return settings, or None until they are complete."""
    file = st.file_uploader(
        "File of scores",
        type=[suffix.removeprefix(".") for suffix in SUFFIXES],
        key="plan_scores_file",
        help="Parquet, CSV or TSV: a key for each row, and one or more columns of numbers. Higher values mean"
        " harder samples.",
    )
    try:
        if file is not None:
            st.session_state.plan_scores = str(keep_upload(file.name, file.getvalue()))
        path = st.session_state.plan_scores
        if not path:
            return None
        with st.grid(3, min_column_width=220, vertical_alignment="bottom"):
            plan_field.field("score_key", label="Key")
            names = scores_in(Path(path), st.session_state.plan_score_key)
            if st.session_state.plan_score not in names:
                st.session_state.plan_score = names[0]
            st.selectbox("Score", names, key="plan_score", persist_state="session")
    except StaffError as error:
        st.error(sentence(error))
        return None
    if file is None:
        st.caption(f"The file is {plain(shown_file(path))}.")
    return {**NOT_NEEDED, **_target()}


def _target() -> dict[str, Any]:
    """Whether a target verifies the scores, and which one."""
    st.session_state.setdefault("plan_verified", st.session_state.plan_target != NO_MODEL)
    if not st.toggle(
        "Verify some samples on the target",
        key="plan_verified",
        persist_state="session",
        help="The target scores a few samples of each stratum, which moves the budget between strata.",
    ):
        return UNVERIFIED
    plan_field.field("target", label="Target model: the one you will train")
    return {}
