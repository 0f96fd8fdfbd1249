"""Lines of an export: scores inserted, written one a line or as an array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from staff_engine.errors import StaffError

if TYPE_CHECKING:
    pass

STAFF = "_staff"
"""The field that carries a sample's scores, where they are asked for."""


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
        raise StaffError(f"the row already has a field {STAFF!r}, from an earlier export with scores")
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
