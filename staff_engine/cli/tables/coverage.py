"""The coverage of several methods' coresets as tables for the terminal."""

from __future__ import annotations

import math

import numpy as np
from rich.console import Console
from rich.table import Table

from staff_engine.runs.coverage import MethodCoverage
from staff_engine.selection.baselines.ccs import CCS_STRATA
from staff_engine.selection.methods import METHODS, labels_where

MOST_HEADINGS = 8
"""Number of methods whose labels fit into the headings of a table."""


def print_coverage(methods: MethodCoverage, console: Console) -> None:
    """Print the sizes of the coresets, their overlap and how much of the data they cover."""
    scores = "scores of the file" if methods.source == "file" else f"scores of the {methods.source} model"
    made = f"seed {methods.seed}, {scores}, β of {labels_where(lambda method: method.cuts)} {methods.beta:g}"
    if methods.baseline_strata != CCS_STRATA:
        made += f", K of {labels_where(lambda method: method.stratifies)} {methods.baseline_strata}"
    console.print(
        "",
        f"[italic]Coresets at a pruning rate of {methods.pruning_rate:g}; {made}[/italic]",
        coverage_table(methods),
        "[dim]response tokens and loss (nats): median, with the 5 % and 95 % quantiles below it[/dim]",
        "",
        "[italic]Overlap: samples in both / samples in either (Jaccard)[/italic]",
        overlap_table(methods),
        "",
        sep="\n",
        highlight=False,
    )
    for note in methods.notes:
        console.print(note, highlight=False, soft_wrap=True)


def coverage_table(methods: MethodCoverage) -> Table:
    """A row for all samples, then one for each method."""
    coverage = methods.coverage
    table = Table(box=None, pad_edge=False)
    table.add_column("method", no_wrap=True)
    headings = ("samples", f"of {coverage.num_strata} strata", f"of {coverage.num_clusters} clusters")
    for heading in (*headings, "response tokens", "loss"):
        table.add_column(heading, justify="right")
    rows = [("all", "", "", "", coverage.lengths.everything, coverage.losses.everything)]
    for i, name in enumerate(coverage.names):
        shares = (_share(coverage.strata[i]), _share(coverage.clusters[i]))
        row = (METHODS[name].label, f"{coverage.sizes[i]:,}", *shares)
        rows.append((*row, coverage.lengths.coresets[i], coverage.losses.coresets[i]))
    for *cells, lengths, losses in rows:
        table.add_row(*cells, _spread(lengths, ",.0f"), _spread(losses, ".2f"))
    return table


def overlap_table(methods: MethodCoverage) -> Table:
    """The overlap of each two methods: samples in both / samples in either.

    The columns of many methods have numbers instead of labels.
    """
    coverage = methods.coverage
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    labels = headings = [METHODS[name].label for name in coverage.names]
    if len(labels) > MOST_HEADINGS:
        headings = [str(number) for number in range(1, len(labels) + 1)]
        labels = [f"{number} {label}" for number, label in zip(headings, labels, strict=True)]
    for heading in headings:
        table.add_column(heading, justify="right")
    for label, row in zip(labels, coverage.jaccard, strict=True):
        table.add_row(label, *(f"{value:.2f}" for value in row))
    return table


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"


def _spread(quantiles: np.ndarray, format: str) -> str:
    if np.isnan(quantiles).all():
        return "–"
    low, middle, high = (quantiles[i] for i in (0, len(quantiles) // 2, -1))
    return f"{middle:{format}}\n[dim]{low:{format}} to {high:{format}}[/dim]"
