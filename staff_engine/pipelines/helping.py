"""How progress and cancelling reach all processes of a run: the leader's reporter and that of the helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from staff_engine.runs.stages import Stage
from staff_engine.system import calls
from staff_engine.system.calls import Call


class Reporter(Protocol):
    """Receives the progress of a run; `advance` raises if the run is to be cancelled."""

    def stage(self, stage: Stage, total: int = 0, done: int = 0) -> None: ...
    def advance(self, count: int = 1) -> None: ...
    def message(self, text: str) -> None: ...
    @property
    def cancelled(self) -> bool: ...


class HelperReporter:
    """Counts the work of a helper, and raises `calls.Stopped` if the leader stopped the step."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def stage(self, stage: Stage, total: int = 0, done: int = 0) -> None:
        """Nothing: the leader shows the stage."""

    def message(self, text: str) -> None:
        """Nothing: the leader shows its own."""

    def advance(self, count: int = 1) -> None:
        self._call.count(count)

    @property
    def cancelled(self) -> bool:
        return self._call.stopped


class LeaderReporter:
    """Passes on the progress of a step that all processes do, with what the helpers have done."""

    def __init__(self, reporter: Reporter, call: Call) -> None:
        self._reporter, self._call = reporter, call

    def stage(self, stage: Stage, total: int = 0, done: int = 0) -> None:
        self._reporter.stage(stage, total, done)

    def message(self, text: str) -> None:
        self._reporter.message(text)

    def advance(self, count: int = 1) -> None:
        self._reporter.advance(count + self._call.counted())

    @property
    def cancelled(self) -> bool:
        return self._reporter.cancelled


@contextmanager
def shared(
    work: Callable[..., None],
    *arguments: Any,
    reporter: Reporter,
    files: Iterable[Path | None] = (),
    collective: bool = False,
) -> Iterator[tuple[Call, Reporter]]:
    """Do a step in all processes, as `calls.shared`; the block gets the call and a reporter for its own part.

    The stage must have begun. A run of one process does the block as it is.
    """
    with calls.shared(
        work, *arguments, on_progress=reporter.advance, files=files, collective=collective
    ) as call:
        yield call, LeaderReporter(reporter, call)
