"""The rows of an export, read in passes so that they are never all in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.data.dataset import TABLE_FILE
from staff_engine.data.files.arrow_tables import parquet_batches
from staff_engine.data.rows import selected_lines, selected_turns
from staff_engine.data.turns import Turn
from staff_engine.errors import StaffError
from staff_engine.export.layouts import CARRIED, Record, carry
from staff_engine.export.lines import STAFF, staff_type, with_staff
from staff_engine.system.arrow import to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

    from staff_engine.data.dataset import Facts
    from staff_engine.samples.decisions import Decisions

CARRIED_NAMES = re.compile(rf'"(?:{"|".join(CARRIED)})"'.encode())
"""Occurs in each line that has a column of `layouts.CARRIED`."""

Layout = Callable[[Sequence[Turn]], Record]
"""Lays out the turns of a sample as a record. Raises StaffError if they do not fit."""


@dataclass(frozen=True)
class Rows:
    """The rows of an export; each method starts a new pass over them.

    Attributes
    ----------
    imported
        The folder of the import.
    facts
        Facts about the import.
    row_ids
        int64 (m,), ascending.
    decisions
        The scores and strata of all imported rows.
    with_scores
        Whether each row has its scores in a field `_staff`.
    """

    imported: Path
    facts: Facts
    row_ids: np.ndarray
    decisions: Decisions
    with_scores: bool

    def lines(self) -> Iterator[bytes]:
        """The imported lines, with `_staff` inserted if scores are requested."""
        for row_id, line in selected_lines(self.imported, self.row_ids):
            if self.with_scores:
                line = _of_row(row_id, with_staff, line, self.decisions.staff(row_id))
            yield line

    def objects(self, *, flat: bool = False) -> Iterator[Record]:
        """The imported rows parsed as JSON.

        Parameters
        ----------
        flat
            Whether the fields of `_staff` become fields of the row, as `_staff.stratum`.
        """
        for line in self.lines():
            row = json.loads(line)
            if flat and self.with_scores:
                row |= {f"{STAFF}.{name}": value for name, value in row.pop(STAFF).items()}
            yield row

    def records(self, layout: Layout, *, carries: bool = False) -> Iterator[tuple[int, Record]]:
        """The row ids and the records that a layout makes of the turns.

        Parameters
        ----------
        carries
            Whether the records also keep the columns of `layouts.CARRIED`.
        """
        lines = selected_lines(self.imported, self.row_ids) if carries else None
        for row_id, turns in selected_turns(self.imported, self.row_ids):
            record = _of_row(row_id, layout, turns)
            if lines is not None:
                _, line = next(lines)
                record |= carry(json.loads(line)) if CARRIED_NAMES.search(line) else {}
            yield row_id, record

    def carried_columns(self) -> list[str]:
        """The columns of `layouts.CARRIED` that any of the rows has."""
        found: set[str] = set()
        for _, line in selected_lines(self.imported, self.row_ids):
            if CARRIED_NAMES.search(line):
                found.update(carry(json.loads(line)))
        return [name for name in CARRIED if name in found]

    def typed_batches(self) -> Iterator[pa.RecordBatch] | None:
        """The rows with the types of their source; None if it has none, as a file of JSON lines.

        With scores, the last column is `_staff`.
        """
        table = self.imported / TABLE_FILE
        return self._batches_of(table) if table.exists() else None

    def _batches_of(self, table: Path) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        first = 0
        for batch in parquet_batches(table, plain=True):
            low, high = np.searchsorted(self.row_ids, [first, first + batch.num_rows])
            ids = self.row_ids[low:high]
            taken = batch.take(to_arrow(ids - first))
            if self.with_scores:
                if STAFF in batch.schema.names:
                    raise StaffError(f"the rows already have a column {STAFF!r}, from an earlier export")
                scores = [self.decisions.staff(row_id) for row_id in ids.tolist()]
                taken = taken.append_column(STAFF, pa.array(scores, staff_type()))
            yield taken
            first += batch.num_rows

    def matching_lines(self, matches: Callable[[bytes], object]) -> list[int]:
        """The ids of the rows whose imported line matches."""
        return [row_id for row_id, line in selected_lines(self.imported, self.row_ids) if matches(line)]

    def matching_turns(self, matches: Callable[[Sequence[Turn]], bool]) -> list[int]:
        """The ids of the rows whose turns match."""
        return [row_id for row_id, turns in selected_turns(self.imported, self.row_ids) if matches(turns)]


def _of_row(row_id: int, step: Callable[..., Any], *arguments: Any) -> Any:
    """Call a step, and add the row to its error."""
    try:
        return step(*arguments)
    except StaffError as error:
        raise StaffError(f"row {row_id}: {error}") from None
