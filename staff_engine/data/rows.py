"""The rows of an import, one after the other: their original lines, or their turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.turns import Turn
from staff_engine.system.arrow import to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

SLICE = 10_000
"""Rows read from the Arrow file at a time."""


def selected_lines(imported: Path, row_ids: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """Yield ids and lines of some rows, byte for byte, without line endings.

    Only the two offset columns of the memory-mapped rows are read, and only the requested
    lines of the source. Line endings (LF, CRLF) and a byte order mark before the first line
    are excluded by the offsets of the import.

    Parameters
    ----------
    imported
        The folder of an import.
    row_ids
        int64 (m,), ascending.
    """
    with (imported / "source.jsonl").open("rb") as source:
        for ids, rows in _selected(imported, row_ids, ["start", "end"]):
            offsets = (rows.column(name).to_pylist() for name in ("start", "end"))
            for row_id, start, end in zip(ids, *offsets, strict=True):
                source.seek(start)
                yield row_id, source.read(end - start)


def selected_turns(imported: Path, row_ids: np.ndarray) -> Iterator[tuple[int, list[Turn]]]:
    """Yield ids and normalised turns of some rows; `row_ids` is int64 (m,), ascending."""
    for ids, rows in _selected(imported, row_ids, ["turns"]):
        yield from zip(ids, map(_without_null, rows.column("turns").to_pylist()), strict=True)


def _without_null(turns: list[Turn]) -> list[Turn]:
    """Turns without the fields that only some of them have."""
    return [{name: value for name, value in turn.items() if value is not None} for turn in turns]


def _selected(
    imported: Path, row_ids: np.ndarray, columns: list[str]
) -> Iterator[tuple[list[int], pa.RecordBatch]]:
    """Yield ids and chosen columns of the rows, slice by slice; a row's id is its index in the file."""
    import pyarrow as pa

    with pa.memory_map(str(imported / "rows.arrow")) as file, pa.ipc.open_stream(file) as stream:
        first = 0
        for batch in stream:
            low, high = np.searchsorted(row_ids, [first, first + batch.num_rows])
            for start in range(low, high, SLICE):
                ids = row_ids[start : min(start + SLICE, high)]
                yield ids.tolist(), batch.select(columns).take(to_arrow(ids - first))
            first += batch.num_rows
