"""Whether the process of a run is alive: by its pid on this host, by its heartbeat on another one."""

from __future__ import annotations

from collections.abc import Iterable

from staff_engine.runs.alive.heartbeat import look, wait_for_sign
from staff_engine.runs.folders import Run
from staff_engine.runs.status import ACTIVE, Status, load_status
from staff_engine.system.hosts import has_restarted
from staff_engine.system.processes import is_alive


def has_process(run: Run, status: Status, *, wait: bool = False) -> bool:
    """Whether the process of a run is alive.

    Parameters
    ----------
    status
        What status.json says of the process.
    wait
        Whether to wait until the answer is certain. Without it, a process on another host counts as
        alive until its heartbeat has been silent for long enough while this process was looking.
        The answer for a process on this host is always certain, and immediate.
    """
    if status.is_here:
        return is_alive(status.pid, status.pid_started)
    if status.host is not None and has_restarted(status.host):
        return False
    return wait_for_sign(run.folder) if wait else look(run.folder) != "silent"


def runs_elsewhere(runs: Iterable[Run]) -> list[Run]:
    """Those runs on which, by their status.json, a process on another host works."""
    statuses = {run: load_status(run.folder) for run in runs}
    return [run for run, status in statuses.items() if status.state in ACTIVE and not status.is_here]


def settle(runs: Iterable[Run]) -> None:
    """Wait until it is certain which of the runs on other hosts still work. Later answers are immediate."""
    foreign = runs_elsewhere(runs)
    for run in foreign:
        look(run.folder)  # all are waited for at the same time
    for run in foreign:
        has_process(run, load_status(run.folder), wait=True)
