"""The rows of an export, read in passes so that they are never all in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.data.rows import selected_lines, selected_turns
from staff_engine.data.turns import Turn
from staff_engine.errors import StaffError
from staff_engine.export.layouts import Record
from staff_engine.export.lines import STAFF, with_staff

if TYPE_CHECKING:
    from staff_engine.data.dataset import Facts
    from staff_engine.samples.decisions import Decisions

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

    def records(self, layout: Layout) -> Iterator[tuple[int, Record]]:
        """The row ids and the records that a layout makes of the turns."""
        for row_id, turns in selected_turns(self.imported, self.row_ids):
            yield row_id, _of_row(row_id, layout, turns)

    def matching_lines(self, matches: Callable[[bytes], object]) -> list[int]:
        """The ids of the rows whose imported line matches."""
        return [row_id for row_id, line in selected_lines(self.imported, self.row_ids) if matches(line)]

    def matching_objects(self, matches: Callable[[Record], bool]) -> list[int]:
        """The ids of the rows whose fields match."""
        objects = zip(self.row_ids.tolist(), self.objects(), strict=True)
        return [row_id for row_id, row in objects if matches(row)]

    def matching_turns(self, matches: Callable[[Sequence[Turn]], bool]) -> list[int]:
        """The ids of the rows whose turns match."""
        return [row_id for row_id, turns in selected_turns(self.imported, self.row_ids) if matches(turns)]


def _of_row(row_id: int, step: Callable[..., Any], *arguments: Any) -> Any:
    """Call a step, and add the row to its error."""
    try:
        return step(*arguments)
    except StaffError as error:
        raise StaffError(f"row {row_id}: {error}") from None
