"""Components of a page that follows a run of any kind: buttons, stages, log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

from pages.parts.words import plain, sentence
from staff_engine.cli.progress import duration
from staff_engine.runs import control
from staff_engine.runs.control import Run
from staff_engine.runs.status import ACTIVE, Status

LOG_LINES = 12

REFRESH_SECONDS = 1.0
"""How often a page refreshes while a run is active."""

STAGES = {
    "import": "Read the data",
    "tokenize": "Tokenize",
    "fine-tune": "Fine-tune the small model",
    "speculate": "Score all samples with the small model",
    "tune target": "Fine-tune the target on a few other samples",
    "verify": "Verify a few samples with the target",
    "select": "Select the coreset",
    "export": "Write the file",
    "compare": "Compare the models",
}
"""Display name of each stage."""

_BADGES = {
    "queued": ("gray", ":material/schedule:"),
    "running": ("blue", ":material/autorenew:"),
    "finished": ("green", ":material/check:"),
    "failed": ("red", ":material/error:"),
    "cancelled": ("orange", ":material/stop:"),
    "interrupted": ("orange", ":material/power_off:"),
    "damaged": ("red", ":material/broken_image:"),
}


def state_badge(state: str) -> None:
    """A run's state as a badge with colour and icon."""
    color, icon = _BADGES[state]
    st.badge(state, icon=icon, color=color)


def stage_name(name: str | None) -> str:
    """Display name of a stage; other names are shown literally, with a capital."""
    return STAGES.get(name or "", plain((name or "")[:1].upper() + (name or "")[1:]))


def bar(status: Status) -> None:
    """Progress of the current stage."""
    left = f", {duration(status.eta)} left" if status.eta else ""
    st.progress(min(status.done / status.total, 1.0), f"{stage_name(status.stage)}{left}")


def controls(run: Run, facts: dict[str, Any], key: str) -> None:
    """Cancel and Resume buttons, if the state allows them."""
    if facts["state"] in ACTIVE and st.button("Cancel", icon=":material/stop:", key=f"{key}_cancel"):
        control.request_cancel(run)
        st.toast("The run will stop after the current batch.", icon=":material/stop:")
    resumable = facts["state"] in ("failed", "cancelled", "interrupted")
    if resumable and st.button("Resume", type="primary", icon=":material/play_arrow:", key=f"{key}_resume"):
        control.resume(run)
        st.rerun()


def failure(facts: dict[str, Any]) -> None:
    """The error of a failed or damaged run."""
    if facts["state"] in ("failed", "damaged"):
        st.error(sentence(facts["message"] or "it ended with an error; the log below has the details"))


def stages(facts: dict[str, Any], expected: Iterable[str]) -> None:
    """Progress of each stage; stages that have not started are grey.

    Parameters
    ----------
    expected
        The stages of this kind of run, in order; other stages are shown if they were run.
    """
    st.subheader("Stages", anchor=False)
    done = {stage["name"]: stage for stage in facts["stages"]}
    for name in dict.fromkeys((*expected, *done)):
        label = stage_name(name)
        stage = done.get(name)
        if stage is None:
            st.progress(0.0, f":gray[{label}]")
            continue
        active = facts["state"] == "running" and facts["stage"] == name
        share = stage["done"] / stage["total"] if stage["total"] else float(not active)
        st.progress(min(share, 1.0), f"{label} · {_counts(stage, facts if active else None)}")


def _counts(stage: dict[str, Any], active: dict[str, Any] | None) -> str:
    if active is None:
        return duration(stage["seconds"])
    total = f" of {stage['total']:,}" if stage["total"] else ""
    words = f"{stage['done']:,}{total} {stage['unit']}"
    if active["rate"]:
        words += f", {active['rate']:.3g} per second"
    return words + (f", {duration(active['eta'])} left" if active["eta"] else "")


def log(run: Run, *, expanded: bool) -> None:
    """The last lines of the log."""
    with st.expander("Log", expanded=expanded, icon=":material/terminal:"):
        lines = control.log_tail(run, LOG_LINES)
        st.code("\n".join(lines) or "Nothing yet.", language=None, wrap_lines=True)
        st.caption(f"Full log: {plain(str(run.log))}")
