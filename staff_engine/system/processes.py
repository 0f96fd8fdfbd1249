"""Processes that outlive this one: started in their own session, identified by pid and start time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from staff_engine.program import app_folder
from staff_engine.system.files import PRIVATE_FILE
from staff_engine.system.home import COMMON_VARIABLE, VARIABLE, common_home, home

SAME_START = 5.0
"""Maximum difference in seconds of two readings of a process's start time.

The kernel's boot time, from which it is computed, is in whole seconds and follows adjustments of the clock.
"""

POLL = 0.05

PROJECT_FOLDER = app_folder()
"""The working directory of started processes: `python -m staff_engine` finds the engine there.

In a checkout, the engine is in this folder. If the package is installed, any folder works except
site-packages: Python searches the working directory before its standard library."""

QUIET_LOG = {
    "PYTHONFAULTHANDLER": "1",
    "PYTHONUNBUFFERED": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
"""Variables of a process whose output goes to a log: no progress bars, a traceback on a crash."""

_children: list[subprocess.Popen[bytes]] = []
"""Processes started by this one. Their exit codes must be collected, or they stay as zombies."""


def start_process(command: Sequence[str], *, log: Path, folder: Path, environment: Mapping[str, str]) -> int:
    """Start a process that continues when this one, its terminal or its browser is closed.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File to append its output to; a pipe would fill up and block it.
    folder
        Its working directory.
    environment
        Variables to set in addition to those of this process.

    Returns
    -------
    int
        Its pid, which is also the id of its process group.

    Raises
    ------
    OSError
        If the program cannot be started or the log cannot be written.
    """
    _collect()
    with log.open("ab") as output:
        log.chmod(PRIVATE_FILE)
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    _children.append(child)
    return child.pid


def start_in_background(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> int:
    """Start a command of the engine in the background, with this process's home and a quiet log.

    `environment` has further variables. Returns its pid. Raises OSError as `start_process` does.
    """
    own = {**QUIET_LOG, VARIABLE: str(home()), COMMON_VARIABLE: str(common_home()), **(environment or {})}
    return start_process(command, log=log, folder=PROJECT_FOLDER, environment=own)


def start_time(pid: int) -> float:
    """Start time of a process, in seconds since the epoch; 0.0 if there is no process with this pid."""
    process = _find(pid)
    return process.create_time() if process else 0.0


def is_alive(pid: int | None, started: float | None) -> bool:
    """Whether the process with this pid and start time is running; a reused pid does not count."""
    import psutil

    if pid is None or started is None:
        return False
    _collect()
    process = _find(pid)
    if process is None or abs(process.create_time() - started) >= SAME_START:
        return False
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pid: int, started: float, seconds: float) -> bool:
    """Wait for a process to end; returns whether it ended in time."""
    deadline = time.monotonic() + seconds
    while is_alive(pid, started):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL)
    return True


def stop_process(pid: int, started: float, *, grace: float, last_grace: float = 10.0) -> None:
    """Stop a process and its group.

    Parameters
    ----------
    grace
        Seconds to wait for it to end by itself; then its group gets SIGTERM.
    last_grace
        Seconds after SIGTERM until the group gets SIGKILL, if the process is still running.
    """
    if wait_until_gone(pid, started, grace):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal_group(pid, number)
        if wait_until_gone(pid, started, last_grace):
            return


def _find(pid: int) -> Any:
    """The psutil.Process of a pid, with its start time cached; None if there is none."""
    import psutil

    try:
        process: Any = psutil.Process(pid)  # type: ignore[no-untyped-call]
        process.create_time()  # psutil caches it
    except psutil.NoSuchProcess:
        return None
    return process


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:  # started by hand, in the group of a shell
            os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended in the meantime


def _collect() -> None:
    """Collect the exit codes of children that ended."""
    _children[:] = [child for child in _children if child.poll() is None]
