"""What the command line shows of runs: progress, and tables."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from staff_engine.runs.control import Run, read_status
from staff_engine.runs.cost import run_cost
from staff_engine.runs.description import RunDescription
from staff_engine.runs.status import ACTIVE, StageStatus, Status
from staff_engine.runs.summary import Summary

POLL_SECONDS = 0.15
WIDE = 112
"""Columns of a terminal that has room for the rate."""

LINE_SECONDS = 60.0
"""Where there is no terminal, a long stage says how far it is this often."""


def duration(seconds: float) -> str:
    """Seconds in words, two figures long: "0.8 s", "42 s", "3 min 05 s", "2 h 03 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def saved_share(share: float | None) -> str:
    """A share of time saved, in words: "53%"; "None" where more was spent, "?" where it is not known."""
    if share is None:
        return "?"
    return f"{share:.0%}" if share > 0 else "None"


def follow(run: Run, console: Console) -> Status:
    """Show how far a run is until no process works on it any more.

    A bar for each stage on a terminal; elsewhere a line for each stage that ends.

    Returns
    -------
    Status
        The last one; its state is final.
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
            at_work = stage.name == status.stage and status.state in ACTIVE
            total = stage.total or (None if at_work else stage.done or 1)
            done = stage.done if stage.total or at_work else total or 0
            left = _left(status, with_rate=self._wide) if at_work else ""
            self._show(stage.name, total, done, _counts(stage), duration(stage.seconds), left)

    def _show(self, name: str, total: int | None, done: int, counts: str, took: str, left: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, counts="", took="", left="")
        self._progress.update(
            self._tasks[name], total=total, completed=done, counts=counts, took=took, left=escape(left)
        )


class _Lines:
    """A line for each stage that ends, where there is no terminal."""

    def __init__(self, console: Console, begin: Status) -> None:
        self._console = console
        self._said = {stage.name for stage in begin.stages} - {begin.stage}
        self._queued = False
        self._last = time.monotonic()

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, status: Status) -> None:
        if status.state == "queued" and status.message and not self._queued:
            self._queued = True
            self._say("queued", status.message)
        for stage in status.stages:
            at_work = stage.name == status.stage and status.state in ACTIVE
            if at_work:
                self._said.discard(stage.name)
                if time.monotonic() - self._last > LINE_SECONDS:
                    self._say(stage.name, f"{_counts(stage):>22} {_left(status)}")
            elif stage.name not in self._said:
                self._said.add(stage.name)
                self._say(stage.name, f"{_counts(stage):>22} {duration(stage.seconds):>10}")

    def _say(self, name: str, text: str) -> None:
        self._last = time.monotonic()
        self._console.print(f"{name:<12} {text}", markup=False, highlight=False, soft_wrap=True)


def _counts(stage: StageStatus) -> str:
    known = stage.total and stage.total != stage.done
    return f"{stage.done:,} of {stage.total:,} {stage.unit}" if known else f"{stage.done:,} {stage.unit}"


def _left(status: Status, with_rate: bool = True) -> str:
    rate = f"{status.rate:,.1f} {status.unit}/s" if status.rate and with_rate else ""
    eta = f"about {duration(status.eta)} left" if status.eta is not None else ""
    return ", ".join(filter(None, (rate, eta, status.message)))


def summary_table(summary: Summary, timings: Mapping[str, float]) -> Table:
    """The closing table: what was selected, and the time it took.

    Parameters
    ----------
    summary
        A run's figures.
    timings
        Seconds of each stage.
    """
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    missing = f" ({summary.to_verify:,} more to verify)" if summary.to_verify else ""
    rows = [
        ("samples", f"{summary.samples:,}"),
        ("unscorable", f"{summary.unscorable:,}"),
        ("strata", f"{summary.strata:,} ({summary.strata_served:,} served)"),
        *([("target tuned on", f"{summary.tuned:,}")] if summary.tuned else []),
        ("verified on the target", f"{summary.verified:,}{missing}"),
        ("coreset size m", f"{summary.coreset_size:,}"),
        *([("trust in the small model", summary.trust.word)] if summary.trust else []),
        *([("number format", summary.dtype)] if summary.dtype else []),
        *((f"time of {stage}", duration(seconds)) for stage, seconds in timings.items()),
        ("time in all", duration(sum(timings.values()))),
    ]
    cost = run_cost(summary, timings)
    words = "nothing verified, no estimate" if cost.full is None else f"about {duration(cost.full)}"
    rows.append(("scoring everything on the target (estimate)", words))
    if cost.training is not None:
        rows.append(("fine-tuning it before that (rougher estimate)", f"about {duration(cost.training)}"))
        rows.append(("selection overhead: this run, of these two", f"{cost.overhead:.0%}"))
    for row in rows:
        table.add_row(*row)
    return table


def print_summary(summary: Summary, timings: Mapping[str, float], console: Console) -> None:
    """Print the closing table of a run, and how far to trust it."""
    console.print("", summary_table(summary, timings), "", sep="\n")
    if summary.trust is not None:
        console.print(summary.trust.sentence, highlight=False)
        for advice in summary.trust.advice:
            console.print(f"- {advice}", highlight=False)
    if summary.dtype_chosen is not None:
        console.print(summary.dtype_chosen, highlight=False)


def print_status(facts: RunDescription) -> None:
    """Print how far a run is and, once it has all scores, its closing table."""
    console = Console()
    console.print(status_table(facts))
    if facts.summary is not None:
        print_summary(facts.summary, facts.timings, console)


def print_runs(runs: Iterable[RunDescription]) -> None:
    """Print a table of runs."""
    Console().print(runs_table(runs))


def status_table(facts: RunDescription) -> Table:
    """One run's state, what it was asked to do and how far it is."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    status = facts.status
    state = status.state + (f": {status.message}" if status.message else "")
    rows: list[tuple[str, object]] = [("run", facts.run_id), ("name", facts.name), ("state", state)]
    rows += [(name, getattr(facts.plan, name, None)) for name in ("dataset", "small", "target")]
    rows += [
        ("created", f"{facts.created:%Y-%m-%d %H:%M:%S} UTC" if facts.created else "? UTC"),
        ("folder", facts.folder),
    ]
    rows += [(stage.name, f"{_counts(stage)}, {duration(stage.seconds)}") for stage in status.stages]
    for name, value in rows:
        table.add_row(name, escape(str(value if value is not None else "?")))
    return table


def runs_table(runs: Iterable[RunDescription]) -> Table:
    """A row for each run; its id names data set and small model."""
    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("target", overflow="fold")
    table.add_column("m", justify="right")
    for facts in runs:
        own_name = facts.name if facts.name and facts.name not in facts.run_id else ""
        target = facts.plan.target.rpartition("/")[2].removeprefix("builtin:") if facts.plan else ""
        size = "" if facts.summary is None else str(facts.summary.coreset_size)
        table.add_row(*map(escape, (facts.run_id, facts.status.state, own_name, target, size)))
    return table
