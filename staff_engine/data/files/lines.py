"""Files of JSON lines: the position of each line, and the object in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from staff_engine.data.files.compression import opened
from staff_engine.errors import DatasetError

BOM = b"\xef\xbb\xbf"

LONGEST = 2**25
"""Maximum bytes of a first line that are read to check whether it is a row."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file that is not blank, without its line ending."""

    number: int  # in the file, from 1
    start: int  # offset of its first byte
    end: int  # offset after its last byte
    text: bytes


def read_lines(path: Path) -> Iterator[Line]:
    """The lines that are not blank, without a byte order mark before the first."""
    offset = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            start = offset + (len(BOM) if number == 1 and raw.startswith(BOM) else 0)
            text = raw[start - offset :].rstrip(b"\r\n")
            if text.strip():
                yield Line(number, start, start + len(text), text)
            offset += len(raw)


def parse_line(line: Line) -> dict[str, Any]:
    """The object in a line. Raises DatasetError with the problem."""
    try:
        row = json.loads(line.text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DatasetError(f"not UTF-8 (byte {error.start + 1})") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise DatasetError(f"is a JSON {type(row).__name__}, should be an object")
    return row


def is_lines(path: Path) -> bool:
    """Whether a .json file contains JSON lines: its first line is a complete object and another line follows.

    At most `LONGEST` bytes of a line are read, because a JSON array can be one very long line.
    """
    with opened(path) as file:
        first, ended = _next_line(file)
        if not ended or not first.startswith(b"{") or not _next_line(file)[0]:
            return False
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


def starts_object(path: Path) -> bool:
    """Whether the first character of a file that is not a space opens a JSON object."""
    with opened(path) as file:
        return _next_line(file)[0].startswith(b"{")


def _next_line(file: IO[bytes]) -> tuple[bytes, bool]:
    """The next line that is not blank, or its first `LONGEST` bytes; and whether it ends with a line feed."""
    while raw := file.readline(LONGEST):
        if line := raw.removeprefix(BOM).strip():
            return line, raw.endswith(b"\n")
    return b"", False


def copy_lines(file: IO[bytes], target: Path, limit: int | None) -> None:
    with target.open("wb") as out:
        if limit is None:
            shutil.copyfileobj(file, out, 2**20)
            return
        rows = 0
        while rows < limit and (line := file.readline()):
            out.write(line)
            rows += bool(line.removeprefix(BOM).strip())
