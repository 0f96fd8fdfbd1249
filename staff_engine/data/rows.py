"""The rows of an import, one after the other: their lines as they were, or their turns."""

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
"""Rows taken out of the Arrow file at a time."""


def selected_lines(imported: Path, row_ids: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """Yield some rows' ids and lines, byte for byte, without their line ends.

    Only the two offset columns of the memory-mapped rows are read, and of the source
    only the lines asked for. What ended a line (LF, CRLF, the end of the file) is no part
    of it, nor is a byte order mark before the first: the import's offsets leave them out.

    Parameters
    ----------
    imported
        The folder of an import.
    row_ids
        int64 (m,), ascending.
    """
    with (imported / "source.jsonl").open("rb") as source:
        for ids, rows in _selected(imported, row_ids, ["start", "end"]):
            places = (rows.column(name).to_pylist() for name in ("start", "end"))
            for row_id, start, end in zip(ids, *places, strict=True):
                source.seek(start)
                yield row_id, source.read(end - start)


def selected_turns(imported: Path, row_ids: np.ndarray) -> Iterator[tuple[int, list[Turn]]]:
    """Yield some rows' ids and normalised turns; `row_ids` is int64 (m,), ascending."""
    for ids, rows in _selected(imported, row_ids, ["turns"]):
        yield from zip(ids, rows.column("turns").to_pylist(), strict=True)


def _selected(
    imported: Path, row_ids: np.ndarray, columns: list[str]
) -> Iterator[tuple[list[int], pa.RecordBatch]]:
    """Yield ids and chosen columns of the rows, slice by slice; a row's id is its place in the file."""
    import pyarrow as pa

    with pa.memory_map(str(imported / "rows.arrow")) as file, pa.ipc.open_stream(file) as stream:
        first = 0
        for batch in stream:
            low, high = np.searchsorted(row_ids, [first, first + batch.num_rows])
            for start in range(low, high, SLICE):
                ids = row_ids[start : min(start + SLICE, high)]
                yield ids.tolist(), batch.select(columns).take(to_arrow(ids - first))
            first += batch.num_rows
