"""Runs as tables for the terminal: one run's state, its closing table, and the list of all runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from staff_engine.cli.terminal import console as make_console
from staff_engine.models.sources import short_name
from staff_engine.runs.cost import Cost, price, run_cost
from staff_engine.runs.description import RunDescription
from staff_engine.runs.summary import Summary
from staff_engine.system.words import UNKNOWN, duration


def summary_table(summary: Summary, timings: Mapping[str, float]) -> Table:
    """The closing table: the selected coreset and the time of each stage.

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
        *([("near duplicates left out", f"{summary.near_duplicates:,}")] if summary.near_duplicates else []),
        ("strata", f"{summary.strata:,} ({summary.strata_served:,} served)"),
        *([("target tuned on", f"{summary.tuned:,}")] if summary.tuned else []),
        ("verified on the target", f"{summary.verified:,}{missing}"),
        ("coreset size m", f"{summary.coreset_size:,}"),
        *_lengths(summary),
        *([("reliability of the small model", summary.trust.word)] if summary.trust else []),
        *([("number format", summary.dtype)] if summary.dtype else []),
        *((f"time of {stage}", duration(seconds)) for stage, seconds in timings.items()),
        ("total time", duration(sum(timings.values()))),
    ]
    cost = run_cost(summary, timings)
    words = "no estimate, nothing was verified" if cost.full is None else f"about {duration(cost.full)}"
    rows.append(("scoring everything on the target (estimate)", words))
    if cost.training is not None:
        rows.append(("fine-tuning it before that (rougher estimate)", f"about {duration(cost.training)}"))
        overhead = UNKNOWN if cost.overhead is None else f"{cost.overhead:.0%}"
        rows.append(("selection overhead: this run / these two", overhead))
        rows += _price(summary, cost)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _price(summary: Summary, cost: Cost) -> list[tuple[str, str]]:
    """Rows on fine-tuning on the coreset instead of everything; none for runs of older versions."""
    if summary.token_share is None:
        return []
    found = price(cost, summary.token_share)
    return [
        ("fine-tuning it on the coreset (rougher estimate)", f"about {duration(found.coreset)}"),
        ("beside training on everything, the selection", found.pays),
    ]


def _lengths(summary: Summary) -> list[tuple[str, str]]:
    """Rows that compare response tokens of coreset and data; none for runs of older versions."""
    lengths = summary.response_tokens
    if lengths is None:
        return []
    return [
        ("response tokens of the coreset", f"{lengths.tokens:,} ({lengths.token_share:.1%} of all)"),
        ("their median length (in the data)", f"{lengths.coreset_median:,.0f} ({lengths.data_median:,.0f})"),
    ]


def print_summary(summary: Summary, timings: Mapping[str, float], console: Console) -> None:
    """Print the closing table of a run, and how reliable the small model is."""
    console.print("", summary_table(summary, timings), "", sep="\n")
    if summary.trust is not None:
        console.print(escape(summary.trust.sentence), highlight=False)
        for advice in summary.trust.advice:
            console.print(escape(f"- {advice}"), highlight=False)
    if summary.dtype_chosen is not None:
        console.print(escape(summary.dtype_chosen), highlight=False)


def print_status(facts: RunDescription) -> None:
    """Print the state and progress of a run and, once it has all scores, its closing table."""
    shown = make_console()
    shown.print(status_table(facts))
    if facts.summary is not None:
        print_summary(facts.summary, facts.timings, shown)


def print_runs(runs: Iterable[RunDescription]) -> None:
    """Print a table of runs."""
    make_console().print(runs_table(runs))


def status_table(facts: RunDescription) -> Table:
    """One run's state, main settings and progress."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    status = facts.status
    state = status.state_and_place + (f": {status.message}" if status.message else "")
    rows: list[tuple[str, object]] = [("run", facts.run_id), ("name", facts.name), ("state", state)]
    rows += [(name, getattr(facts.plan, name, None)) for name in ("dataset", "small", "target")]
    rows += [
        ("created", f"{facts.created:%Y-%m-%d %H:%M:%S} UTC" if facts.created else "? UTC"),
        ("folder", facts.folder),
    ]
    rows += [("damage", facts.damage)] if facts.damage else []
    rows += [(stage.name, f"{stage.counts}, {duration(stage.seconds)}") for stage in status.stages]
    for name, value in rows:
        table.add_row(name, escape(str(value if value is not None else "?")))
    return table


def runs_table(runs: Iterable[RunDescription]) -> Table:
    """A row for each run; the id contains data set and small model."""
    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("target", overflow="fold")
    table.add_column("m", justify="right")
    for facts in runs:
        own_name = facts.name if facts.name and facts.name not in facts.run_id else ""
        target = short_name(facts.plan.target) if facts.plan else ""
        size = "" if facts.summary is None else str(facts.summary.coreset_size)
        table.add_row(*map(escape, (facts.run_id, facts.status.state_and_place, own_name, target, size)))
    return table
