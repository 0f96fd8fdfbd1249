"""The selected rows of an import, one after the other: their lines as they were, or their turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from staff_engine.errors import StaffError
from staff_engine.export.layouts import Turn
from staff_engine.system.arrow import to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

STAFF = "_staff"
"""The field that carries a sample's scores, where they are asked for."""

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


def with_staff(line: bytes, staff: dict[str, Any]) -> bytes:
    """Insert `_staff` behind a row's last field; every other byte stays as and where it is.

    Parameters
    ----------
    line
        A JSON object.
    staff
        What is inserted, as compact ASCII JSON.

    Raises
    ------
    StaffError
        If the row has a field of this name, from an earlier export: readers differ in
        which of two they take.
    """
    if f'"{STAFF}"'.encode() in line and STAFF in json.loads(line):
        raise StaffError(f"the row has a field {STAFF!r} already, from an earlier export with scores")
    body = line[: line.rindex(b"}")].rstrip()
    comma = b"" if body.endswith(b"{") else b", "
    field = json.dumps({STAFF: staff}, allow_nan=False)[1:-1].encode("ascii")
    return body + comma + field + line[len(body) :]


def write_lines(out: BinaryIO, rows: Iterator[bytes], *, array: bool = False) -> int:
    """Write JSON texts one a line, each ended by a line feed, or as one JSON array; return how many.

    An array's rows are the same bytes too, with brackets around and commas between them.
    """
    count = 0
    opening, between, closing = (b"[\n", b",\n", b"\n]\n") if array else (b"", b"\n", b"\n")
    for row in rows:
        out.write(between if count else opening)
        out.write(row)
        count += 1
    out.write(closing if count else opening + closing)
    return count
