"""Verify the missing samples of a selection in the background, and show the progress."""

from __future__ import annotations

import streamlit as st

from pages.parts.page import errors
from pages.parts.state import missing_of
from pages.parts.words import plain
from staff_engine.pipelines.trajectories import CHECKPOINTS, ask_for_trajectories
from staff_engine.plan import VERIFY_FIELDS
from staff_engine.runs import control
from staff_engine.runs.control import Run
from staff_engine.runs.results import Results
from staff_engine.runs.stages import SPECULATE_ALONE, TRAIN_AGAIN, TRAJECTORIES, VERIFY, VERIFY_ALONE
from staff_engine.runs.status import ACTIVE
from staff_engine.selection.ratios.rounds import NOT_ADAPTIVE
from staff_engine.selection.scores import SCORES
from staff_engine.system.words import duration

SCORING = {
    TRAIN_AGAIN.name: "The small model has been fine-tuned again for",
    TRAJECTORIES.name: "The small model has computed the losses at checkpoints of",
    SPECULATE_ALONE.name: "The small model has scored the responses without prompts of",
    VERIFY.name: "The target has verified",
    VERIFY_ALONE.name: "The target has scored the responses without prompts of",
}
"""The stages whose progress is shown, and the words before their counts."""


def offer(run: Run, results: Results) -> None:
    """A button if samples are missing, the progress while they are scored, otherwise nothing."""
    status = control.read_status(run)
    if status.state in ACTIVE:
        _progress(run)
        return
    if status.state not in ("finished", "damaged") and status.verify is not None:
        st.warning(
            f"The last verification is {status.state}. {plain(status.message)}".strip(),
            icon=":material/pause_circle:",
        )
    with errors():
        adaptive = st.session_state.adaptive and st.session_state.allocation != NOT_ADAPTIVE
        missing = missing_of(results, st.session_state.verify_per_stratum, adaptive)
    if not missing:
        return
    each = results.summary.verify_seconds_per_sample
    about = f" (about {duration(missing * each)})" if each else ""
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.markdown(
            f":material/hourglass_empty: **Provisional:** {missing:,} samples of these strata are not"
            " verified yet."
        )
        more = f"Verify in rounds, {missing:,} first" if adaptive else f"Verify {missing:,} more"
        if st.button(f"{more}{about}", type="primary", key="verify_more"):
            with errors():
                control.start(run, verify={name: st.session_state[name] for name in VERIFY_FIELDS})
            st.rerun()


def offer_ifd(run: Run, results: Results) -> None:
    """A button that computes the score IFD, if the run does not have it and no process works on it."""
    if not results.lacks("ifd") or control.read_status(run).state in ACTIVE:
        return
    if st.button(
        "Compute IFD",
        key="compute_ifd",
        icon=":material/calculate:",
        help=f"{SCORES['ifd'].sentence} Both models must score the responses without their prompts, by a"
        " forward pass. Then IFD can be chosen as the score.",
    ):
        settings = {name: st.session_state[name] for name in VERIFY_FIELDS}
        with errors():
            control.start(run, verify={**settings, "score": "ifd"})
        st.rerun()


def offer_trajectories(run: Run, results: Results) -> None:
    """A button that measures the losses at checkpoints, or the progress of the run while it works."""
    if control.read_status(run).state in ACTIVE:
        _progress(run)
        return
    if results.trajectories.shape[1]:
        return
    if st.button(
        "Measure losses at checkpoints",
        key="measure_trajectories",
        icon=":material/timeline:",
        help="S2L needs them. The small model is fine-tuned again with the same seed, and the loss of every"
        f" sample is measured at {CHECKPOINTS} checkpoints, by one forward pass each.",
    ):
        with errors():
            ask_for_trajectories(run, CHECKPOINTS)
            control.start(run)
        st.rerun()


@st.fragment(run_every=1.0)
def _progress(run: Run) -> None:
    status = control.read_status(run)
    if status.state not in ACTIVE:
        st.rerun()
    verifies = status.stage in SCORING
    share = status.done / status.total if status.total and verifies else 0.0
    left = f", {duration(status.eta)} left" if status.eta else ""
    if verifies and status.state == "running":
        text = f"{SCORING[status.stage]} {status.done:,} of {status.total:,} {status.unit}{left}."
    else:
        text = "The process of the run is starting."
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.progress(min(share, 1.0), text)
        if st.button("Cancel", key="verify_cancel", icon=":material/stop:"):
            with errors():
                control.request_cancel(run)
