"""The status that a run writes to status.json, and the state that follows from it."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from staff_engine.errors import RunError
from staff_engine.system.files import read_model, write_checked
from staff_engine.system.hosts import name_of, this_host

State = Literal["queued", "running", "finished", "failed", "cancelled", "interrupted", "damaged"]

ACTIVE: tuple[State, ...] = ("queued", "running")
"""States in which a process works on the run or waits for its turn."""

WAITS = "waits:"
"""How the message of a run in the queue begins."""

STATUS_FILE = "status.json"
CANCEL_FILE = "cancel"

SECOND_READ_SECONDS = 0.1
"""Time until a status.json that could not be read is read again."""


class StageStatus(BaseModel):
    """Progress of one stage. A stage that continues after a resume keeps its seconds."""

    model_config = ConfigDict(frozen=True)

    name: str
    done: int = 0
    total: int = 0  # 0 if unknown
    unit: str = "samples"
    seconds: float = 0.0

    @property
    def counts(self) -> str:
        """Its progress: "30 of 60 samples"; "60 samples" if that is all or the total is unknown."""
        known = self.total and self.total != self.done
        return f"{self.done:,} of {self.total:,} {self.unit}" if known else f"{self.done:,} {self.unit}"


class Status(BaseModel):
    """The content of status.json; frozen."""

    model_config = ConfigDict(frozen=True)

    state: State = "queued"
    stage: str | None = None
    done: int = 0
    total: int = 0
    unit: str = "samples"
    rate: float | None = None  # units per second, over the last half minute
    eta: float | None = None  # seconds left in the stage at that rate
    pid: int | None = None
    pid_started: float | None = None  # seconds since the epoch
    host: str | None = None  # `this_host` of the process; None in older runs: this host
    message: str = ""
    exit_code: int | None = None  # 0 finished, 2 wrong input, 1 anything else
    verify: dict[str, Any] | None = None  # settings whose missing samples are verified; None: the whole plan
    started: datetime | None = None  # when it was last queued
    updated: datetime | None = None
    stages: tuple[StageStatus, ...] = ()

    @property
    def is_here(self) -> bool:
        """Whether its pid is one of this host."""
        return self.host in (None, this_host())

    @property
    def elsewhere(self) -> str | None:
        """The name of the host of its process, if it is another one."""
        name = name_of(self.host or "")
        return name if name not in ("", name_of(this_host())) else None

    @property
    def process_and_place(self) -> str:
        """Its process and, if that is on another host, where: "process 5 on gpu-07"."""
        return f"process {self.pid} on {self.elsewhere}" if self.elsewhere else f"process {self.pid}"

    @property
    def state_and_place(self) -> str:
        """Its state and, while a process on another host works on it, where: "running on gpu-07"."""
        return f"{self.state} on {self.elsewhere}" if self.elsewhere and self.state in ACTIVE else self.state


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


def decide_state(recorded: State, *, started: bool, alive: bool, cancel_asked: bool) -> State:
    """Determine the state of a run from its recorded state and its process.

    Parameters
    ----------
    recorded
        The state in status.json.
    started
        Whether a process was ever started for it.
    alive
        Whether that process is still running.
    cancel_asked
        Whether its folder contains the cancel flag.

    Returns
    -------
    State
        The recorded state, unless it requires a process that is gone. Then the run was
        cancelled if that was requested, else interrupted.
    """
    if recorded not in ACTIVE or alive:
        return recorded
    if cancel_asked:
        return "cancelled"
    return "interrupted" if started or recorded == "running" else "queued"


def load_status(folder: Path) -> Status:
    """Read status.json as it was written.

    If it is missing or damaged, the run counts as interrupted: it can be resumed. A file that is empty
    or all zero bytes was being replaced when the machine lost power. A second read comes before that: on a
    network file system, a read fails or is cut while another host replaces the file.
    """
    path = folder / STATUS_FILE
    with suppress(RunError):
        return read_model(path, Status)
    time.sleep(SECOND_READ_SECONDS)
    try:
        return read_model(path, Status)
    except RunError as error:
        reason = str(error)
    try:
        if not path.read_bytes().strip(b"\0"):
            reason = "the machine lost power"
    except OSError:
        pass  # `reason` says why it cannot be read
    return Status(state="interrupted", message=reason, exit_code=1)


def save_status(folder: Path, status: Status, *, durable: bool = True) -> Status:
    """Replace status.json atomically; returns the written status, with its time.

    Parameters
    ----------
    durable
        Whether it is flushed to the disk. Progress inside a stage is not flushed: it is written
        up to four times a second. On a busy disk, a flush of 8 ms each time would cost a run
        3 % of its time.
    """
    status = status.model_copy(update={"updated": now()})
    write_checked(folder / STATUS_FILE, status.model_dump(mode="json"), durable=durable)
    return status


def cancel_asked(folder: Path) -> bool:
    """Whether somebody asked the run to stop.

    The flag file is opened: a network file system can answer from its cache whether a file exists, but
    asks the server when one is opened.
    """
    path = folder / CANCEL_FILE
    try:
        path.open("rb").close()
    except FileNotFoundError:
        return False
    except OSError:
        return path.exists()
    return True
