"""Progress of a run: stages, rate and time left, written to its folder while it runs."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from pathlib import Path

from staff_engine.errors import RunError
from staff_engine.runs.integrity.records import record_files
from staff_engine.runs.stages import Stage
from staff_engine.runs.status import StageStatus, State, cancel_asked, load_status, save_status
from staff_engine.system.files import read_checked, write_checked
from staff_engine.system.hosts import this_host
from staff_engine.system.processes import start_time

TIMINGS_FILE = "timings.json"

WRITE_SECONDS = 0.25
"""Minimum time between two writes of status.json."""

RECORD_SECONDS = 60.0
"""How often new files are recorded while a stage runs."""

RATE_SECONDS = 30.0
"""The rate is measured over the last half minute."""

log = logging.getLogger(__name__)


class Cancelled(BaseException):
    """The run was asked to stop. Not an `Exception`, so that no library handles it as its own error."""


class Reporter:
    """Writes status.json and timings.json while a run is running.

    Parameters
    ----------
    folder
        The run's folder. Stages that an earlier process began keep their seconds.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._status = load_status(folder)
        self._stages = {stage.name: stage for stage in self._status.stages or _earlier_stages(folder)}
        self._stage: StageStatus | None = None
        self._began = self._written = 0.0
        self._recorded = time.monotonic()
        self._points: deque[tuple[float, int]] = deque()
        self.noticed = False
        """Whether the code at work has learnt that the run was asked to stop."""

    @property
    def asked(self) -> bool:
        """Whether the run was asked to stop."""
        return cancel_asked(self._folder)

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop; for code that then stops in its own way."""
        self.noticed = self.noticed or self.asked
        return self.noticed

    def stage(self, stage: Stage, total: int = 0, done: int = 0) -> None:
        """Begin a stage, and end the previous one.

        Parameters
        ----------
        total
            Total amount of work, in the stage's unit; 0 if unknown.
        done
            Amount that an earlier process has done.

        Raises
        ------
        Cancelled
            If the run was asked to stop.
        """
        self._end_stage()
        before = self._stages.get(stage.name, StageStatus(name=stage.name))
        self._stage = before.model_copy(update={"done": done, "total": total, "unit": stage.unit})
        self._began = time.monotonic()
        self._points.clear()
        log.info("%s: %s of %s %s", stage.name, done, total or "?", stage.unit)
        self._write()
        self._stop_if_asked()

    def advance(self, count: int = 1) -> None:
        """Report that `count` more units are done. Raises Cancelled if the run was asked to stop."""
        stage = self._stage
        if stage is None:
            raise RuntimeError("advance was called before the first stage")
        self._stage = stage.model_copy(update={"done": stage.done + count})
        moment = time.monotonic()
        self._points.append((moment, self._stage.done))
        while len(self._points) > 2 and moment - self._points[0][0] > RATE_SECONDS:
            self._points.popleft()
        if moment - self._written >= WRITE_SECONDS:
            self._write(durable=False)
        if moment - self._recorded >= RECORD_SECONDS:
            self._record()
        self._stop_if_asked()

    def message(self, text: str) -> None:
        """Show one line of text with the state."""
        if text != self._status.message:
            self._write(durable=False, message=text)

    def state(self, state: State, message: str = "", exit_code: int | None = None) -> None:
        """Enter a state, and end the current stage."""
        self._end_stage()
        pid = os.getpid()
        self._write(
            state=state, message=message, exit_code=exit_code, pid=pid, pid_started=start_time(pid),
            host=this_host(),
        )  # fmt: skip

    def _stop_if_asked(self) -> None:
        if self.cancelled:
            raise Cancelled

    def _measure(self) -> None:
        """Record the current stage with its seconds so far."""
        if self._stage is not None:
            seconds = self._stage.seconds + time.monotonic() - self._began
            self._stages[self._stage.name] = self._stage.model_copy(update={"seconds": round(seconds, 3)})

    def _end_stage(self) -> None:
        if self._stage is None:
            return
        self._measure()
        self._status = self._status.model_copy(update=self._progress(None))
        self._stage = None
        self._points.clear()
        seconds = {stage.name: stage.seconds for stage in self._stages.values()}
        write_checked(self._folder / TIMINGS_FILE, seconds)
        self._record()

    def _record(self) -> None:
        record_files(self._folder)
        self._recorded = time.monotonic()

    def _rate(self) -> float | None:
        if len(self._points) < 2:
            return None
        (begin, before), (end, after) = self._points[0], self._points[-1]
        return (after - before) / (end - begin) if end > begin else None

    def _progress(self, rate: float | None) -> dict[str, object]:
        stage = self._stage
        if stage is None:
            return {}
        eta = max(stage.total - stage.done, 0) / rate if rate and stage.total else None
        counts = stage.model_dump(include={"done", "total", "unit"})
        return {"stage": stage.name, **counts, "rate": rate, "eta": eta}

    def _write(self, *, durable: bool = True, **changes: object) -> None:
        self._measure()
        changes |= self._progress(self._rate())
        changes["stages"] = tuple(self._stages.values())
        self._status = save_status(self._folder, self._status.model_copy(update=changes), durable=durable)
        self._written = time.monotonic()


def _earlier_stages(folder: Path) -> tuple[StageStatus, ...]:
    """The stages with their seconds in timings.json, for a run that has lost its status.json."""
    try:
        seconds = read_checked(folder / TIMINGS_FILE)
        return tuple(StageStatus(name=name, seconds=value) for name, value in seconds.items())
    except (RunError, AttributeError, ValueError):
        return ()
