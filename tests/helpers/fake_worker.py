"""Processes that stand in for a run's own, and waiting for what they do."""

import os
import sys
import time
from collections.abc import Callable

from staff_engine.runs.control import Run, read_status
from staff_engine.runs.status import Status, load_status
from staff_engine.system import processes

PATIENCE = 60.0

FAKE_WORKER = """
import signal, subprocess, sys, time
from pathlib import Path
from staff_engine.runs.folders import Run
from staff_engine.runs.stages import SPECULATE
from staff_engine.runs.worker import working

how, folder = sys.argv[1], Path(sys.argv[2])
with working(Run(folder.name, folder)) as reporter:
    print("it speaks")
    reporter.stage(SPECULATE, 1000)
    if how == "deaf":  # neither reads the flag nor minds SIGTERM, and has a child
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        reporter.message(str(child.pid))
    while how != "finish":
        time.sleep(0.01)
        if how == "attentive":
            reporter.advance()
    reporter.advance(1000)
"""


def fake_worker(how: str) -> tuple[str, ...]:
    return (sys.executable, "-c", FAKE_WORKER, how)


def wait_for(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def wait_for_state(run: Run, *states: str) -> Status:
    wait_for(lambda: read_status(run).state in states)
    return read_status(run)


def kill_leftovers(home) -> None:
    """Kill what still works on a run of a home."""
    for folder in (home / "runs").glob("*"):
        status = load_status(folder)
        if status.pid != os.getpid() and processes.is_alive(status.pid, status.pid_started):
            processes.stop_process(status.pid, status.pid_started, grace=0, last_grace=1)
