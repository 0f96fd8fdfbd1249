"""Control runs: state, start, cancel, resume, delete. No part of a run is kept only in memory."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from staff_engine.errors import RunError, StaffError
from staff_engine.runs.alive.heartbeat import LOOK_SECONDS, announce, require_no_other_heart
from staff_engine.runs.alive.process import has_process, runs_elsewhere, settle
from staff_engine.runs.description import RunDescription
from staff_engine.runs.folders import (
    PLAN_FILE,
    SUMMARY_FILE,
    Delivery,
    Run,
    RunRecord,
    checked_name,
    create_run,
    find_run,
    kind_of,
    list_runs,
    read_record,
    runs_of_all,
)
from staff_engine.runs.integrity.check import Damage, damage_sentence, find_damage, missing_result
from staff_engine.runs.kinds import KINDS, Kind
from staff_engine.runs.progress import TIMINGS_FILE
from staff_engine.runs.status import (
    ACTIVE,
    CANCEL_FILE,
    WAITS,
    Status,
    cancel_asked,
    decide_state,
    load_status,
    now,
    save_status,
)
from staff_engine.runs.summary import load_summary, load_timings
from staff_engine.system.files import write_checked
from staff_engine.system.home import home, in_home
from staff_engine.system.hosts import this_host
from staff_engine.system.processes import start_in_background, start_time, stop_process
from staff_engine.system.sharing import check_active, check_disk
from staff_engine.system.team import several, size, threads_each

__all__ = [
    "Delivery", "Run", "RunRecord", "Status", "cancel", "create_run", "delete", "describe", "find_run",
    "kind_of", "launching", "list_runs", "log_tail", "read_record", "read_status", "rename", "request_cancel",
    "require_no_process", "require_scores", "restart_queued", "resume", "runs_elsewhere", "runs_of_all",
    "settle", "start", "update_record",
]  # fmt: skip

Source = TypeVar("Source")
Value = TypeVar("Value")

log = logging.getLogger(__name__)

LAUNCH_LOCK = ".launch.lock"
LAUNCH_SECONDS = 60
LOG_TAIL_BYTES = 20_000
CANCEL_ELSEWHERE_SECONDS = 90.0
"""How long a run on another host may take to stop. A network file system can hide the flag for a minute."""

ASKED = ("name", "created", "kind", "plan", "similarity", "evaluation")
"""The fields that a description takes from a run's record."""

WORKER = (sys.executable, "-m", "staff_engine", "work")
"""The command of a run's process; the run's folder is added as last argument."""


def read_status(run: Run) -> Status:
    """Read the current state of a run; "damaged" with the reason if its plan.json cannot be read."""
    try:
        read_record(run)
    except RunError as error:
        return Status(state="damaged", message=str(error))
    status = load_status(run.folder)
    alive = status.state in ACTIVE and has_process(run, status)
    if status.state in ACTIVE and not alive:
        status = load_status(run.folder)  # it may have finished between the two reads
    state = decide_state(
        status.state, started=status.pid is not None, alive=alive, cancel_asked=cancel_asked(run.folder)
    )
    if state == status.state:
        return status
    message = f"{status.process_and_place} is gone" if state == "interrupted" else "cancelled"
    return status.model_copy(
        update={"state": state, "message": message, "exit_code": 1, "rate": None, "eta": None}
    )


def describe(run: Run) -> RunDescription:
    """Read everything that is known of a run now; fields of a damaged run can be None."""
    record = _or_none(read_record, run)
    asked = {} if record is None else {name: getattr(record, name) for name in ASKED}
    summary, timings = _or_none(load_summary, run.folder), _or_none(load_timings, run.folder)
    unread = (name for name, content in ((SUMMARY_FILE, summary), (TIMINGS_FILE, timings)) if content is None)
    damaged = [Damage(name, "cannot be read") for name in unread if (run.folder / name).exists()]
    damaged += missing_result(run.folder)
    return RunDescription(
        run_id=run.id,
        folder=run.folder,
        status=read_status(run),
        summary=summary,
        timings=timings or {},
        damage=damage_sentence(run.folder, damaged) if damaged else None,
        **asked,
    )


def log_tail(run: Run, lines: int) -> list[str]:
    """Read the last lines of a run's log; empty if there is no log yet."""
    try:
        with run.log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []


def require_scores(run: Run) -> Run:
    """Return the run. Raises RunError if it has never finished, or selects no coreset."""
    kind = read_record(run).kind
    if kind is not Kind.CORESET:
        raise RunError(f"run {run.id} {KINDS[kind].does}; it has no coreset")
    if not (run.folder / SUMMARY_FILE).exists():
        state = read_status(run).state
        if state == "finished":
            raise RunError(damage_sentence(run.folder, [Damage(SUMMARY_FILE, "is missing")]))
        raise RunError(f"run {run.id} is {state} and does not have all scores yet; it must finish first")
    return run


def start(
    run: Run,
    *,
    verify: dict[str, Any] | None = None,
    worker: Sequence[str] | None = None,
    processes: int | None = None,
) -> None:
    """Start the process of a run, or several. It continues from the run's last complete file.

    Parameters
    ----------
    verify
        Selection settings and `verify_per_stratum` whose missing samples the target
        scores. If None, the run's plan is carried out.
    worker
        A command to use instead of `WORKER`.
    processes
        How many work on the run together. If None, as many as planned.

    Raises
    ------
    RunError
        If a process already works on the run, here or on another host, or none can be started.
    StaffError
        If the user's files or runs are too many.
    """
    with _starting(run) as status:
        if verify is not None:
            require_scores(run)
        count = read_record(run).plan.processes if processes is None else processes
        _require_one_if_spread(run, count)
        command = [*(worker or several(WORKER, count)), str(run.folder)]
        try:
            pid = start_in_background(command, log=run.log, environment=threads_each(count))
        except OSError as error:
            raise RunError(f"the process of run {run.id} cannot be started: {error}") from error
        _save_start(run, status, pid, verify)


def resume(run: Run, *, worker: Sequence[str] | None = None, processes: int | None = None) -> None:
    """Continue a cancelled, failed or interrupted run, or make the damaged files of a finished one again.

    Parameters as in `start`.

    Raises
    ------
    RunError
        If it is queued or running, or is finished and no file is damaged.
    """
    start(run, verify=_left_to_do(run), worker=worker, processes=processes)


def take_over(run: Run) -> None:
    """Make this process the first one of a run, as `resume` starts one. Raises as `resume`."""
    verify = _left_to_do(run)
    with _starting(run) as status:
        _require_one_if_spread(run, size())
        _save_start(run, status, os.getpid(), verify)


def _left_to_do(run: Run) -> dict[str, Any] | None:
    """The settings whose samples a stopped run had to verify; None: its plan is carried out."""
    status = read_status(run)
    if status.state != "finished":
        return status.verify
    if not find_damage(run.folder):
        raise RunError(f"run {run.id} is finished and whole; there is nothing to resume")
    return None


@contextmanager
def _starting(run: Run) -> Iterator[Status]:
    """Lock a run that can be started, and withdraw an earlier request to cancel it."""
    check_disk()
    check_active(sum(other != run and _is_started(read_status(other)) for other in list_runs()))
    settle([run])
    with launching(run):
        status = read_status(run)
        if status.state == "damaged":
            raise RunError(f"run {run.id} is damaged and cannot be started: {status.message}")
        if _is_started(status):
            raise RunError(f"run {run.id} is already {status.state_and_place} (process {status.pid})")
        require_no_other_heart(run.folder)
        (run.folder / CANCEL_FILE).unlink(missing_ok=True)
        announce(run.folder)
        yield status


def _require_one_if_spread(run: Run, processes: int) -> None:
    """Raise RunError if several processes are to work with a target that one spreads over all GPUs."""
    spread = read_record(run).plan.device_map
    if processes > 1 and spread != "none":
        raise RunError(
            f"device_map of run {run.id} is {spread!r}, which is for one process; processes is {processes}"
        )


def _save_start(run: Run, before: Status, pid: int, verify: dict[str, Any] | None) -> None:
    status = Status(
        pid=pid, pid_started=start_time(pid), host=this_host(), started=now(), stages=before.stages,
        verify=verify,
    )  # fmt: skip
    save_status(run.folder, status)


def restart_queued() -> list[Run]:
    """Start again the runs that waited in the queue when the machine or their process stopped, in order.

    These are the runs of all users of this server. Those that waited on another host are left to it.
    """
    waiting = []
    for run in runs_of_all():
        status = load_status(run.folder)
        lost = status.state == "queued" and not status.elsewhere and not has_process(run, status, wait=True)
        if lost and status.message.startswith(WAITS) and status.started and not cancel_asked(run.folder):
            waiting.append((status.started, run.id, run, status.verify))
    restarted = []
    for *_, run, verify in sorted(waiting, key=lambda each: each[:2]):
        try:
            with in_home(run.folder.parents[1]):
                start(run, verify=verify)
        except StaffError as error:
            log.warning("run %s cannot be started again: %s", run.id, error)
        else:
            restarted.append(run)
    return restarted


def request_cancel(run: Run) -> Status:
    """Ask a run to stop after the current batch, and return immediately. Raises RunError if not active."""
    status = read_status(run)
    if status.state not in ACTIVE:
        raise RunError(f"run {run.id} is {status.state}; only a queued or running run can be cancelled")
    (run.folder / CANCEL_FILE).touch()
    return status


def cancel(run: Run, *, grace: float = 20.0) -> Status:
    """Stop a run and wait until it has stopped.

    Parameters
    ----------
    grace
        Seconds to wait for it to stop by itself. Then its processes get SIGTERM, and
        finally SIGKILL. On another host, only the flag file reaches it: then it has
        `CANCEL_ELSEWHERE_SECONDS`, or `grace` if that is more.

    Raises
    ------
    RunError
        If it is neither queued nor running, or still is on another host after that time.
    """
    status = request_cancel(run)
    if status.pid is not None and status.pid_started is not None:
        if status.is_here:
            stop_process(status.pid, status.pid_started, grace=grace)
        else:
            _wait_until_stopped(run, max(grace, CANCEL_ELSEWHERE_SECONDS))
    return read_status(run)


def delete(run: Run) -> None:
    """Remove a run's folder.

    Raises
    ------
    RunError
        While a process works on it, or if the folder is not certainly a run: it has to be in the runs
        folder itself, no link, and have a readable plan.json.
    """
    runs = home() / "runs"
    if run.folder.is_symlink() or run.folder.parent.resolve() != runs.resolve():
        raise RunError(f"{run.folder} is not in the runs folder {runs}; only runs in it can be deleted")
    try:
        read_record(run)
    except RunError as error:
        raise RunError(f"{run.folder} may not be a run: {error}; remove the folder yourself") from None
    settle([run])
    with launching(run):
        require_no_process(run)
        require_no_other_heart(run.folder)
        trash = run.folder.with_name(f".{run.id}.deleted")
        try:
            run.folder.rename(trash)
            shutil.rmtree(trash)
        except OSError as error:
            raise RunError(f"run folder {run.folder} cannot be removed: {error}") from error


def rename(run: Run, name: str) -> None:
    """Rename a run. Raises RunError if the name is blank or too long, or the run is damaged."""
    update_record(run, name=checked_name(name))


def update_record(run: Run, **changes: Any) -> RunRecord:
    """Change fields of plan.json: name, fingerprint or delivery, or names on the hub in a plan."""
    with launching(run):
        record = read_record(run).model_copy(update=changes)
        write_checked(run.folder / PLAN_FILE, record.model_dump(mode="json"))
    return record


def require_no_process(run: Run) -> None:
    """Raise RunError if a process works on a run, or waits for its turn."""
    status = read_status(run)
    if _is_started(status):
        raise RunError(f"run {run.id} is {status.state_and_place} (process {status.pid}); cancel it first")


def _is_started(status: Status) -> bool:
    """Whether a run waits for its turn or works; not if it was only created."""
    return status.state in ACTIVE and status.pid is not None


def _wait_until_stopped(run: Run, seconds: float) -> None:
    """Wait for a run on another host to stop by itself. Raises RunError if it does not in time."""
    deadline = time.monotonic() + seconds
    while (status := read_status(run)).state in ACTIVE:
        if time.monotonic() >= deadline:
            raise RunError(
                f"run {run.id} was asked to stop but is still {status.state_and_place} after {seconds:.0f} s;"
                " it stops as soon as it reads the request"
            )
        time.sleep(LOOK_SECONDS)


def _or_none(read: Callable[[Source], Value], source: Source) -> Value | None:
    """The value that a reader returns; None if it raises RunError."""
    try:
        return read(source)
    except RunError:
        return None


@contextmanager
def launching(run: Run) -> Iterator[None]:
    """Lock a run, so that only one process at a time starts, deletes or begins to work on it."""
    from filelock import FileLock, Timeout

    if not run.folder.is_dir():
        raise RunError(f"run folder {run.folder} does not exist")
    lock = FileLock(run.folder / LAUNCH_LOCK)
    try:
        lock.acquire(timeout=LAUNCH_SECONDS)
    except Timeout:
        raise RunError(
            f"run {run.id} has been locked by another process for over {LAUNCH_SECONDS} s"
        ) from None
    except OSError as error:
        raise RunError(f"run {run.id} cannot be locked: {error}") from error
    try:
        yield
    finally:
        lock.release()
