"""The results of an evaluation, and its time estimate, as tables for the terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from staff_engine.evaluation.estimate import Estimate
from staff_engine.evaluation.report import EvaluationReport, Mean, Row
from staff_engine.system.words import duration, percent


def print_evaluation(report: EvaluationReport, console: Console) -> None:
    """Print the table of an evaluation and the conclusions from it."""
    answers = f" and the {report.metric} of {report.answers:,} answers" if report.metric else ""
    console.print(
        "",
        f"[italic]The fine-tuned target: loss of {report.held_out:,} held-out samples{answers};"
        f" {report.cells:,} of {report.planned:,} cells; below each mean: its 95 % interval[/italic]",
        evaluation_table(report),
        "",
        sep="\n",
        highlight=False,
    )
    for sentence in report.sentences:
        console.print(escape(f"- {sentence}"), highlight=False)
    for warning in report.warnings:
        console.print(escape(f"warning: {warning}"), highlight=False)


def evaluation_table(report: EvaluationReport) -> Table:
    """A row for each arm, rate and budget, with the 95 % interval over the seeds below each mean."""
    table = Table(box=None, pad_edge=False)
    table.add_column("removed", justify="right")
    table.add_column("trained on", overflow="fold")
    headings = ["samples", "steps", "seeds", "held-out loss", "− random"]
    headings += [report.metric, "− random"] if report.metric else []
    for heading in [*headings, "selection, of full"]:
        table.add_column(heading, justify="right")
    budgets = len({row.budget for row in report.rows if row.budget}) > 1
    for row in report.rows:
        table.add_row(*_cells(row, bool(report.metric), budgets))
    return table


def _cells(row: Row, metric: bool, budgets: bool) -> list[str]:
    name = row.label + (f", {row.scores}'s scores" if row.scores else "")
    name += f", equal {row.budget}" if budgets and row.budget else ""
    share = "" if row.selection_share is None else f"{row.selection_share:.0%}"
    measured = [_mean(row.loss, 3), _mean(row.loss_to_random, 3, sign=True)]
    measured += [_mean(row.metric, 1), _mean(row.metric_to_random, 1, sign=True)] if metric else []
    counts = [f"{row.rows:,}", f"{row.steps:,}", str(row.loss.seeds)]
    rate = "" if row.pruning_rate is None else percent(row.pruning_rate)
    return [rate, escape(name), *counts, *measured, share]


def _mean(mean: Mean | None, digits: int, *, sign: bool = False) -> str:
    if mean is None:
        return ""
    form = f"{'+' if sign else ''}.{digits}f"
    if math.isnan(mean.low):
        return f"{mean.value:{form}}"
    return f"{mean.value:{form}}\n[dim]{mean.low:{form}} to {mean.high:{form}}[/dim]"


def estimate_words(estimate: Estimate | None) -> str:
    """The time estimate of an evaluation, in a sentence."""
    if estimate is None:
        return "no time estimate: the run has verified no samples to estimate from"
    if not estimate.cells:
        return "all cells already exist"
    parts = [("fine-tuning", estimate.training), ("evaluating", estimate.evaluating)]
    if estimate.scoring:
        parts.insert(0, ("fine-tuning and scoring everything on the target", estimate.scoring))
    words = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts)
    return (
        f"{estimate.cells:,} cells to compute, about {duration(estimate.seconds)} ({words}),"
        f" based on {estimate.basis}"
    )
