"""A test process that takes itself for another host than the processes that it starts."""

import socket

from staff_engine.runs.alive import heartbeat
from staff_engine.runs.folders import Run
from staff_engine.system.hosts import this_host
from tests.helpers.fake_worker import FAKE_WORKER, fake_worker

QUICK = f"from staff_engine.runs.alive import heartbeat; heartbeat.BEAT_SECONDS = 0.05\n{FAKE_WORKER}"

GPU_07 = "gpu-07/a1b2c3d4/e5f6a7b8/4026531836"
"""The identity of a host that no test runs on."""


def rename_host(monkeypatch, name: str) -> None:
    """Let this process be on a host of another name. Undone by `this_host.cache_clear` after the test."""
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    this_host.cache_clear()


def quick_worker(how: str) -> tuple[str, ...]:
    """A worker whose heart beats fast."""
    python, switch, _, how = fake_worker(how)
    return (python, switch, QUICK, how)


def beat_of(run: Run, owner: str, at: str) -> None:
    """Write a heartbeat as a process on another host does, at a time on the clock of that host."""
    (run.folder / heartbeat.HEARTBEAT_FILE).write_text(f"{owner} {at}\n")
