"""Progress of a running run on the command line: a bar or a line for each stage."""

from __future__ import annotations

import time
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from staff_engine.runs.control import Run, read_status
from staff_engine.runs.status import ACTIVE, Status
from staff_engine.system.words import duration

POLL_SECONDS = 0.15
WIDE = 112
"""Minimum columns of a terminal to show the rate."""

LINE_SECONDS = 60.0
"""Without a terminal, a long stage prints its progress at this interval."""


def follow(run: Run, console: Console) -> Status:
    """Show the progress of a run until no process works on it any more.

    On a terminal, each stage has a bar. Otherwise, each stage prints a line when it ends.

    Returns
    -------
    Status
        The last status; its state is final.
    """
    status = read_status(run)
    shown: _Shown = _Bars(console) if console.is_terminal else _Lines(console, status)
    with shown:
        while True:
            shown.show(status)
            if status.state not in ACTIVE:
                return status
            time.sleep(POLL_SECONDS)
            status = read_status(run)


class _Shown(Protocol):
    def __enter__(self) -> Any: ...
    def __exit__(self, *error: object) -> None: ...
    def show(self, status: Status) -> None: ...


class _Bars:
    """A bar for each stage, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._wide = console.width >= WIDE
        self._progress = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=30 if self._wide else 12),
            TextColumn("{task.fields[counts]:>22}"),
            TextColumn("{task.fields[took]:>10}"),
            TextColumn("[cyan]{task.fields[left]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, status: Status) -> None:
        if status.state == "queued":
            self._show("queued", None, 0, "", "", status.message)
        elif "queued" in self._tasks:
            self._progress.remove_task(self._tasks.pop("queued"))
        for stage in status.stages:
            is_running = stage.name == status.stage and status.state in ACTIVE
            total = stage.total or (None if is_running else stage.done or 1)
            done = stage.done if stage.total or is_running else total or 0
            left = _left(status, with_rate=self._wide) if is_running else ""
            self._show(stage.name, total, done, stage.counts, duration(stage.seconds), left)

    def _show(self, name: str, total: int | None, done: int, counts: str, took: str, left: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(
                escape(name), total=total, counts="", took="", left=""
            )
        self._progress.update(
            self._tasks[name], total=total, completed=done, counts=counts, took=took, left=escape(left)
        )


class _Lines:
    """A line for each stage that ends, without a terminal."""

    def __init__(self, console: Console, begin: Status) -> None:
        self._console = console
        self._printed = {stage.name for stage in begin.stages} - {begin.stage}
        self._queued = False
        self._last = time.monotonic()

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, status: Status) -> None:
        if status.state == "queued" and status.message and not self._queued:
            self._queued = True
            self._print("queued", status.message)
        for stage in status.stages:
            is_running = stage.name == status.stage and status.state in ACTIVE
            if is_running:
                self._printed.discard(stage.name)
                if time.monotonic() - self._last > LINE_SECONDS:
                    self._print(stage.name, f"{stage.counts:>22} {_left(status)}")
            elif stage.name not in self._printed:
                self._printed.add(stage.name)
                self._print(stage.name, f"{stage.counts:>22} {duration(stage.seconds):>10}")

    def _print(self, name: str, text: str) -> None:
        self._last = time.monotonic()
        self._console.print(f"{name:<12} {text}", markup=False, highlight=False, soft_wrap=True)


def _left(status: Status, with_rate: bool = True) -> str:
    rate = f"{status.rate:,.1f} {status.unit}/s" if status.rate and with_rate else ""
    eta = f"about {duration(status.eta)} left" if status.eta is not None else ""
    return ", ".join(filter(None, (rate, eta, status.message)))
