"""The first rows of a coreset, as an export writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staff_engine.export.coreset import check_export
from staff_engine.export.formats import DEFAULT_FORMAT, find_format
from staff_engine.export.rows import Rows
from staff_engine.samples.decisions import decide

if TYPE_CHECKING:
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection

LOOKED_AT = 1_000
"""Rows from which the preview takes the columns of a table and the fields of Alpaca."""

WIDEST = 2_000
"""Maximum characters of a line that are shown."""


def preview_export(
    results: Results,
    selection: Selection,
    format: str = DEFAULT_FORMAT,
    with_scores: bool = False,
    rows: int = 5,
) -> str:
    """The beginning of the file that an export would write, as text.

    Long lines are truncated, with the number of missing characters. A Parquet file shows its
    columns and types, and its rows as JSON. Columns, and the optional fields of Alpaca, are
    those of the first `LOOKED_AT` rows of the coreset.

    Raises
    ------
    PlanError
        If the format is unknown, or cannot include scores.
    StaffError
        If one of these rows does not fit the format.
    """
    chosen = find_format(format)
    check_export(results.folder / f"coreset{chosen.suffix}", format, with_scores=with_scores)
    facts = results.imported.facts
    looked_at = Rows(
        results.imported.folder, facts, selection.indices[:LOOKED_AT], decide(results, selection), with_scores
    )
    complete = rows >= len(selection.indices)
    return _cut(chosen.writer_of(facts).preview(looked_at, rows, complete=complete))


def _cut(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(
        line if len(line) <= WIDEST else f"{line[:WIDEST]} … ({len(line) - WIDEST:,} more characters)"
        for line in lines
    )
