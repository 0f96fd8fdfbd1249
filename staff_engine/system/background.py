"""Background jobs with a key, so that the same result is not computed twice.

A job has its own folder, `<home>/<room>/<key>/`. It contains the job's state file, which is
replaced atomically, its log and its results. The key is made of the settings of the job and of the
state of the files that it reads. Only the newest jobs are kept.

The caller defines the state file as a pydantic model. It includes the process that works on the
job, so a job whose process died is read as failed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from staff_engine.errors import RunError
from staff_engine.system.files import private_folder, read_model, write_json
from staff_engine.system.home import home
from staff_engine.system.processes import is_alive, start_in_background, start_time, stop_process
from staff_engine.system.sharing import check_disk

LOG_FILE = "log.txt"
LOCK_FILE = ".lock"

LOCK_SECONDS = 10.0
"""Maximum wait for another process that starts the same job."""

STOP_SECONDS = 5.0
"""Maximum wait for a stopped process to end before it is killed."""

LONGEST_LINE = 300


class JobState(Protocol):
    """The content of every job's state file; a frozen pydantic model."""

    @property
    def state(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def pid_started(self) -> float | None: ...
    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self: ...
    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


State = TypeVar("State", bound=JobState)


@dataclass(frozen=True)
class Jobs(Generic[State]):
    """A kind of background job.

    Attributes
    ----------
    room
        Name of the folder under `home()` that contains a folder for each job.
    file
        Name of the state file in a job's folder.
    model
        The pydantic model of the state file. Its state can be "failed", with the reason in `message`.
    at_work
        The state of a running job.
    """

    room: str
    file: str
    model: type[State]
    at_work: str

    def folder(self, key: str) -> Path:
        """The folder of one job."""
        return home() / self.room / key


def key_of(content: Sequence[Any]) -> str:
    """Make the key of a job from JSON-compatible values: everything that its result depends on."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def state_of(paths: Iterable[Path]) -> tuple[int, int] | None:
    """Size in bytes and newest time in nanoseconds of some files; None if one cannot be read."""
    try:
        facts = [path.stat() for path in paths]
    except OSError:
        return None
    return sum(fact.st_size for fact in facts), max((fact.st_mtime_ns for fact in facts), default=0)


def make_folder(jobs: Jobs[Any], key: str, *, kept: int) -> Path:
    """Create the folder of a job. Delete old jobs, except the `kept` newest and running ones.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    made = jobs.folder(key)
    private_folder(made.parent)
    private_folder(made)
    newest_first = sorted(made.parent.iterdir(), key=_changed, reverse=True)
    for old in newest_first[kept:]:
        if old == made:
            continue
        if not old.is_dir():  # left by an older version
            old.unlink(missing_ok=True)
        elif not _is_running(jobs, old.name):
            shutil.rmtree(old, ignore_errors=True)
    return made


def save(jobs: Jobs[State], key: str, state: State) -> State:
    """Replace the state file of a job; returns the written state.

    Only the state of a job that has ended is flushed to the disk. A running job writes its progress
    several times a second, and a power failure ends it anyway.
    """
    ended = state.state != jobs.at_work
    write_json(jobs.folder(key) / jobs.file, state.model_dump(mode="json"), durable=ended)
    return state


def read(jobs: Jobs[State], key: str) -> State | None:
    """Read the state of a job; None if there is no such job, or its file is damaged.

    A running job whose process is gone has failed: the message is the last line of its log.
    """
    state = _load(jobs, key)
    if state is None or state.state != jobs.at_work or is_alive(state.pid, state.pid_started):
        return state
    state = _load(jobs, key)  # it may have finished between the two reads
    if state is None or state.state != jobs.at_work:
        return state
    message = f"the process ended before the job was done{_last_line(jobs.folder(key) / LOG_FILE)}"
    return state.model_copy(update={"state": "failed", "message": message})


def start(
    jobs: Jobs[State],
    key: str,
    command: Sequence[str],
    *,
    kept: int,
    wanted: Callable[[State], bool],
    begun: Callable[[int, float], State],
) -> None:
    """Start the process of a job, unless it is running or its result exists.

    Parameters
    ----------
    command
        Program and arguments.
    kept
        Number of jobs to keep, as in `make_folder`.
    wanted
        Whether to start a job again that ended in this state.
    begun
        Creates the first state from the pid and the start time of the process.

    Raises
    ------
    OSError
        If the process cannot be started, or the folder cannot be written.
    StaffError
        If the user's files are too many.
    """
    from filelock import FileLock, Timeout

    def needed() -> bool:
        known = read(jobs, key)
        return known is None or (known.state != jobs.at_work and wanted(known))

    check_disk()
    folder = make_folder(jobs, key, kept=kept)
    if not needed():
        return
    try:
        with FileLock(folder / LOCK_FILE, timeout=LOCK_SECONDS):
            if needed():
                pid = start_in_background(command, log=folder / LOG_FILE)
                save(jobs, key, begun(pid, start_time(pid)))
    except Timeout:
        pass  # another process has locked the job: it starts it or works on it


def stop(jobs: Jobs[Any], key: str) -> None:
    """Stop the process of a running job and delete the job; other jobs are kept."""
    state = read(jobs, key)
    if state is None or state.state != jobs.at_work:
        return
    if state.pid is not None and state.pid_started is not None:
        stop_process(state.pid, state.pid_started, grace=0.0, last_grace=STOP_SECONDS)
    shutil.rmtree(jobs.folder(key), ignore_errors=True)


def as_options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as options of a command of the engine: `--name=value`, or a switch."""
    return [
        switch(name, value) if isinstance(value, bool) else f"--{name.replace('_', '-')}={value}"
        for name, value in settings.items()
    ]


def switch(name: str, on: bool) -> str:
    """A setting that is on or off, as an option: `--name` or `--no-name`."""
    return f"--{'' if on else 'no-'}{name.replace('_', '-')}"


def _load(jobs: Jobs[State], key: str) -> State | None:
    try:
        return read_model(jobs.folder(key) / jobs.file, jobs.model)  # type: ignore[type-var]
    except RunError:
        return None


def _is_running(jobs: Jobs[Any], key: str) -> bool:
    state = read(jobs, key)
    return state is not None and state.state == jobs.at_work


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # another process removed it
        return 0


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last[:LONGEST_LINE]}" if last else ""
