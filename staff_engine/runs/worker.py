"""The process of a run: it waits for its turn, writes a log, and stops when asked."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from staff_engine.errors import PlanError, RunError, StaffError
from staff_engine.runs.alive.heartbeat import TakenOver, only_heart
from staff_engine.runs.control import Run, launching, read_status, runs_of_all
from staff_engine.runs.progress import Cancelled, Reporter
from staff_engine.runs.status import WAITS, State, Status
from staff_engine.system import calls, team
from staff_engine.system.disk import clear_parts, full_disk, reserved
from staff_engine.system.files import private_files
from staff_engine.system.home import common_home
from staff_engine.system.hosts import name_of, this_host

if TYPE_CHECKING:
    from filelock import FileLock

WORKERS_VARIABLE = "STAFF_WORKERS"
"""Environment variable: how many runs work at once on a host; 1 if it is not set."""

MOST_WORKERS = 64

QUEUE_SECONDS = 0.5
LIBRARIES_LOG = "libraries.txt"
"""The file in a run's folder with the warnings of libraries."""

RUN_LOCK = ".work.lock"
LEAVING_SECONDS = 15.0
"""How long a process that has just finished can still lock its run."""

CANCEL_POLL = 0.2
CANCEL_SECONDS = 2.0
"""How long a run may take to notice by itself that it was cancelled. Then its process is interrupted."""

log = logging.getLogger(__name__)


@contextmanager
def working(run: Run) -> Iterator[Reporter]:
    """Work on a run inside the block: wait for its turn, set its state, write its log.

    The block's end makes the run "finished", `Cancelled` makes it "cancelled", SIGTERM
    "interrupted", and any other exception "failed", with one line in status.json and
    the traceback in log.txt. Exceptions are re-raised. Temporary files are removed before and after.

    Raises
    ------
    RunError
        If another process works on the run, also on another host. `TakenOver` if one begins to: this one was
        suspended, for example, and the run was resumed elsewhere. The block is ended and no state is written.
    """
    with (
        private_files(), _logging_to(run.log), _only_process_of(run), _sigterm_raises(),
        only_heart(run.folder) as heart,
    ):  # fmt: skip
        with launching(run):  # whoever started this process has then written its pid
            clear_parts(run.folder)
            reporter = Reporter(run.folder)
        try:
            with heart, _cancelled_soon(reporter), _turn(run, reporter), reserved(run.folder):
                reporter.state("running")
                log.info("run %s: process %d", run.id, os.getpid())
                yield reporter
        except TakenOver as error:
            log.error("%s", error)
            raise
        except BaseException as error:
            clear_parts(run.folder)
            ending = _ending(error, reporter, run.folder)
            try:
                reporter.state(*ending)
            except OSError as again:
                log.error("the state cannot be written: %s", again)
            raise
        reporter.state("finished", exit_code=0)
        log.info("run %s: finished", run.id)


def help_with(run: Run) -> None:
    """Do the share of a helper in a run that several processes work on, until its leader leaves.

    What it has to say goes to a log of its own, beside that of the run.

    Raises
    ------
    Lost
        If the leader is gone.
    """
    with private_files(), _logging_to(run.log.with_name(f"log-r{team.rank():02d}.txt")), _sigterm_raises():
        calls.follow()


def _ending(error: BaseException, reporter: Reporter, folder: Path) -> tuple[State, str, int]:
    """State, message and exit code of a run that ended with this exception; a failure is logged."""
    if isinstance(error, SystemExit):  # torchrun ends all processes when one has failed
        error = calls.failure() or error
    if isinstance(error, Cancelled | KeyboardInterrupt) or reporter.cancelled:
        log.info("cancelled")
        return "cancelled", "", 1
    if isinstance(error, SystemExit):
        log.info("interrupted by SIGTERM")
        return "interrupted", team.gone() or "the process was terminated (SIGTERM)", 1
    if isinstance(error, team.Lost):
        log.error("interrupted: %s", error)
        return "interrupted", str(error), 1
    log.error("failed", exc_info=error)
    full = full_disk(error, folder)
    if full is not None:
        return "failed", full, 1
    line = " ".join(str(error).split())
    if isinstance(error, StaffError):
        return "failed", line, 2
    return "failed", f"{type(error).__name__}: {line}"[:500], 1


@contextmanager
def _turn(run: Run, reporter: Reporter) -> Iterator[None]:
    """Wait until fewer than `most_workers` runs work on this host and none was queued on it earlier."""
    common_home().mkdir(parents=True, exist_ok=True)
    shown = None
    while True:
        if reporter.cancelled:
            raise Cancelled
        place = len(_came_first(run)) + 1
        lock = _free_place() if place == 1 else None
        if lock is not None:
            break
        if place != shown:
            reporter.state("queued", message=f"{WAITS} place {place} in the queue")
            shown = place
        time.sleep(QUEUE_SECONDS)
    try:
        yield
    finally:
        lock.release()


def most_workers() -> int:
    """How many runs work at once on a host. Raises PlanError if `STAFF_WORKERS` is no such number."""
    text = os.environ.get(WORKERS_VARIABLE, "1")
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise PlanError(f"{WORKERS_VARIABLE} is {text!r}; allowed: 1 to {MOST_WORKERS}")
    return int(text)


def place_file(number: int) -> Path:
    """The lock of one of this host's places. Hosts that share a home have a queue each."""
    return common_home() / f"work-{name_of(this_host())}-{number}.lock"


def _free_place() -> FileLock | None:
    """Lock one of this host's places for working runs; None if all are taken."""
    from filelock import FileLock, Timeout

    for number in range(most_workers()):
        lock = FileLock(place_file(number))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        return lock
    return None


@contextmanager
def _cancelled_soon(reporter: Reporter) -> Iterator[None]:
    """Interrupt the block if it is cancelled and does not notice, for example while it imports libraries.

    The signal unwinds the stack, so whole parts are kept.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(CANCEL_POLL):
            if reporter.asked:
                if not ended.wait(CANCEL_SECONDS) and not reporter.noticed:
                    os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=watch, name="cancel", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _came_first(run: Run) -> list[Run]:
    """Other runs whose processes were queued on this host before this one's."""
    waiting = {run: _queued(run), **{other: _queued(other) for other in runs_of_all() if other != run}}
    own = waiting.pop(run)
    if own is None or own.started is None:
        return []
    return [
        other
        for other, status in waiting.items()
        if status and status.started and (status.started, other.id) < (own.started, run.id)
    ]


def _queued(run: Run) -> Status | None:
    status = read_status(run)
    return status if status.state == "queued" and status.pid is not None and not status.elsewhere else None


@contextmanager
def _only_process_of(run: Run) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(run.folder / RUN_LOCK)
    try:
        lock.acquire(timeout=LEAVING_SECONDS)
    except Timeout:
        raise RunError(f"another process already works on run {run.id}") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Make SIGTERM unwind the stack, so that finished scores are written, instead of killing at once."""

    def unwind(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Append the engine's messages and all errors to a file, with times.

    Warnings of libraries are for developers. They go to a second file beside it.
    """
    root, engine = logging.getLogger(), logging.getLogger("staff_engine")
    handlers = [
        logging.FileHandler(file, encoding="utf-8", delay=True)
        for file in (path, path.with_name(LIBRARIES_LOG))
    ]
    for handler, wanted in zip(
        handlers, (_concerns_users, lambda record: not _concerns_users(record)), strict=True
    ):
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handler.addFilter(wanted)
        root.addHandler(handler)
    before = engine.level
    engine.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        engine.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _concerns_users(record: logging.LogRecord) -> bool:
    return record.name.startswith("staff_engine") or record.levelno >= logging.ERROR
