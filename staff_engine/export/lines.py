"""Lines of an export: insert scores, write one per line or as an array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from staff_engine.errors import StaffError

if TYPE_CHECKING:
    import pyarrow as pa

STAFF = "_staff"
"""The field with a sample's scores, if they are requested."""


def staff_type() -> pa.DataType:
    """The type of the field `_staff` in a table."""
    import pyarrow as pa

    fields = {
        "row_id": pa.int64(),
        "speculative_score": pa.float64(),
        "verification_score": pa.float64(),
        "stratum": pa.int64(),
    }
    return pa.struct(list(fields.items()))


def with_staff(line: bytes, staff: dict[str, Any]) -> bytes:
    """Insert `_staff` after a row's last field; all other bytes stay unchanged.

    Parameters
    ----------
    line
        A JSON object.
    staff
        The value to insert, as compact ASCII JSON.

    Raises
    ------
    StaffError
        If the row already has a field with this name, from an earlier export: readers differ in
        which of two they use.
    """
    if f'"{STAFF}"'.encode() in line and STAFF in json.loads(line):
        raise StaffError(f"the row already has a field {STAFF!r}, from an earlier export with scores")
    body = line[: line.rindex(b"}")].rstrip()
    comma = b"" if body.endswith(b"{") else b", "
    field = json.dumps({STAFF: staff}, allow_nan=False)[1:-1].encode("ascii")
    return body + comma + field + line[len(body) :]


def write_lines(out: BinaryIO, rows: Iterator[bytes], *, array: bool = False) -> int:
    """Write JSON texts, one per line or as one JSON array; return their number.

    The rows of an array are the same bytes, with brackets around and commas between them.
    """
    count = 0
    opening, between, closing = (b"[\n", b",\n", b"\n]\n") if array else (b"", b"\n", b"\n")
    for row in rows:
        out.write(between if count else opening)
        out.write(row)
        count += 1
    out.write(closing if count else opening + closing)
    return count
