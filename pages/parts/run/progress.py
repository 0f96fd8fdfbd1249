"""Components of a page that follows a run of any kind: buttons, stages, log."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from pages.parts.page import errors
from pages.parts.words import plain, sentence
from staff_engine.runs import control
from staff_engine.runs.control import Run
from staff_engine.runs.stages import stage_of
from staff_engine.runs.status import ACTIVE, StageStatus, State, Status
from staff_engine.system.words import duration

LOG_LINES = 12

REFRESH_SECONDS = 1.0
"""How often a page refreshes while a run is active."""

_BADGES = {
    "queued": ("gray", ":material/schedule:"),
    "running": ("blue", ":material/autorenew:"),
    "finished": ("green", ":material/check:"),
    "failed": ("red", ":material/error:"),
    "cancelled": ("orange", ":material/stop:"),
    "interrupted": ("orange", ":material/power_off:"),
    "damaged": ("red", ":material/broken_image:"),
}


def state_badge(status: Status) -> None:
    """A run's state as a badge with colour and icon, and its host while it works on another one."""
    color, icon = _BADGES[status.state]
    st.badge(plain(status.state_and_place), icon=icon, color=color)


def stage_name(name: str) -> str:
    """Display name of a stage, shown literally: it may name a model. Raises RunError if unknown."""
    return plain(stage_of(name).label)


def bar(status: Status) -> None:
    """Progress of the current stage; nothing before the first."""
    if status.stage is None:
        return
    left = f", {duration(status.eta)} left" if status.eta else ""
    st.progress(min(status.done / status.total, 1.0), f"{stage_name(status.stage)}{left}")


def controls(run: Run, state: State, key: str, *, resumable: bool = False) -> None:
    """Cancel and Resume buttons, if the state allows them.

    Parameters
    ----------
    resumable
        Whether the run can be resumed although it is finished, because files are damaged.
    """
    if state in ACTIVE and st.button("Cancel", icon=":material/stop:", key=f"{key}_cancel"):
        control.request_cancel(run)
        st.toast("The run will stop after the current batch.", icon=":material/stop:")
    resumable |= state in ("failed", "cancelled", "interrupted")
    if resumable and st.button("Resume", type="primary", icon=":material/play_arrow:", key=f"{key}_resume"):
        control.resume(run)
        st.rerun()


def failure(status: Status) -> None:
    """The error of a failed or damaged run."""
    if status.state in ("failed", "damaged"):
        st.error(sentence(status.message or "it ended with an error; the log below has the details"))


def stages(status: Status, expected: Iterable[str]) -> None:
    """Progress of each stage; stages that have not started are grey.

    Parameters
    ----------
    expected
        The stages of this kind of run, in order; other stages are shown if they were run.
    """
    st.subheader("Stages", anchor=False)
    done = {stage.name: stage for stage in status.stages}
    with errors():
        labels = {name: stage_name(name) for name in (*expected, *done)}
    for name, label in labels.items():
        stage = done.get(name)
        if stage is None:
            st.progress(0.0, f":gray[{label}]")
            continue
        active = status.state == "running" and status.stage == name
        share = stage.done / stage.total if stage.total else float(not active)
        st.progress(min(share, 1.0), f"{label} · {_counts(stage, status if active else None)}")


def _counts(stage: StageStatus, active: Status | None) -> str:
    if active is None:
        return duration(stage.seconds)
    total = f" of {stage.total:,}" if stage.total else ""
    words = f"{stage.done:,}{total} {stage.unit}"
    if active.rate:
        words += f", {active.rate:.3g} per second"
    return words + (f", {duration(active.eta)} left" if active.eta else "")


def log(run: Run, *, expanded: bool) -> None:
    """The last lines of the log."""
    with st.expander("Log", expanded=expanded, icon=":material/terminal:"):
        lines = control.log_tail(run, LOG_LINES)
        st.code("\n".join(lines) or "Nothing yet.", language=None, wrap_lines=True)
        st.caption(f"Full log: {plain(str(run.log))}")
