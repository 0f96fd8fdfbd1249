"""The results of a similarity run as tables for the terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from staff_engine.pipelines.similarity.measures import Estimate
from staff_engine.pipelines.similarity.report import SCORES, Report

COLUMNS = {
    "spearman": "rank corr.",
    "pearson": "Pearson",
    "ks": "KS",
    "wasserstein": "Wasserstein",
    "strata": "strata (ARI)",
    "hardest": "hardest tenth",
}
"""The figures of a `Likeness`, and the headings of their columns."""


def print_similarity(report: Report, console: Console) -> None:
    """Print the similarity of the models, the correlation with response length, and the ratings."""
    console.print("", pairs_table(report), "", lengths_table(report), "", sep="\n")
    for verdict in report.verdicts:
        who = f"{verdict.small.words}, for {verdict.target.words}, by {verdict.score}"
        rating = f"reliability is {verdict.trust.word}. {verdict.trust.sentence}"
        console.print(escape(f"{who}: {rating}"), highlight=False)
        for advice in verdict.trust.advice:
            console.print(escape(f"- {advice}"), highlight=False)


def pairs_table(report: Report) -> Table:
    """A row for each target, small model and score, with the 95 % interval below each figure."""
    table = Table(
        title=f"Similarity of the scores of {report.samples:,} samples, with 95 % bootstrap intervals",
        title_justify="left", box=None, pad_edge=False,
    )  # fmt: skip
    for name in ("target", "small model", "score"):
        table.add_column(name, overflow="fold")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    for pair in report.pairs:
        figures = (_cell(getattr(pair.likeness, name)) for name in COLUMNS)
        names = map(escape, (pair.target.words, pair.small.words, pair.score))
        table.add_row(*names, *figures)
    return table


def lengths_table(report: Report) -> Table:
    """A row for each model and state: the rank correlation of its scores with the response length."""
    table = Table(
        title="Rank correlation of each score with the response length in tokens",
        title_justify="left", box=None, pad_edge=False,
    )  # fmt: skip
    table.add_column("model")
    for score in SCORES:
        table.add_column(score, justify="right")
    correlations = {(each.reading, each.score): each.correlation for each in report.lengths}
    for reading in report.readings:
        table.add_row(escape(reading.words), *(_cell(correlations[reading, score]) for score in SCORES))
    return table


def _cell(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "–"
    return f"{estimate.value:.2f}\n[dim]{estimate.low:.2f} to {estimate.high:.2f}[/dim]"
