"""Files of JSON lines: the position of each line, and the object in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from staff_engine.data.files.bounds import most_in_value, value_too_large
from staff_engine.errors import DatasetError

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file that is not blank, without its line ending."""

    number: int  # in the file, from 1
    start: int  # offset of its first byte
    end: int  # offset after its last byte
    text: bytes


def read_lines(path: Path) -> Iterator[Line]:
    """The lines that are not blank, without a byte order mark before the first.

    Raises
    ------
    DatasetError
        If a line is longer than `bounds.most_in_value`.
    """
    offset = 0
    with path.open("rb") as file:
        for number, raw in enumerate(raw_lines(file), start=1):
            start = offset + (len(BOM) if number == 1 and raw.startswith(BOM) else 0)
            text = raw[start - offset :].rstrip(b"\r\n")
            if text.strip():
                yield Line(number, start, start + len(text), text)
            offset += len(raw)


def raw_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of an open file with their line endings. Raises DatasetError if one is too long."""
    most = most_in_value()
    number = 0
    while raw := file.readline(most + 1):
        number += 1
        if len(raw) > most:
            raise value_too_large(f"line {number:,}")
        yield raw


def parse_line(line: Line, made: Callable[[list[tuple[str, Any]]], Any] | None = None) -> dict[str, Any]:
    """The object in a line; `made` makes an object of its pairs. Raises DatasetError with the problem."""
    try:
        row = json.loads(line.text.decode("utf-8"), object_pairs_hook=made)
    except UnicodeDecodeError as error:
        raise DatasetError(f"not UTF-8 (byte {error.start + 1})") from None
    except (ValueError, RecursionError) as error:
        if line.text.rstrip().endswith(b","):
            raise DatasetError("ends with a comma; in JSON lines, remove the comma after each row") from None
        raise DatasetError(f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise DatasetError(f"is a JSON {type(row).__name__}, should be an object")
    return row


def is_lines(file: IO[bytes]) -> bool:
    """Whether a .json file contains JSON lines: its first line is a complete object and another line follows.

    At most `bounds.most_in_value` bytes of a line are read, because a JSON array can be one very long line.
    """
    first, ended = _next_line(file)
    if not ended or not first.startswith(b"{") or not _next_line(file)[0]:
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def first_character(file: IO[bytes]) -> bytes:
    """The first character of a file that is not a space; empty if there is none."""
    return _next_line(file)[0][:1]


def _next_line(file: IO[bytes]) -> tuple[bytes, bool]:
    """The next line that is not blank, or its first bytes; and whether it ends with a line feed."""
    while raw := file.readline(most_in_value()):
        if line := raw.removeprefix(BOM).strip():
            return line, raw.endswith(b"\n")
    return b"", False


def copy_lines(file: IO[bytes], target: IO[bytes], limit: int | None) -> None:
    """Copy lines byte for byte: all, or up to the `limit`th that is not blank."""
    if limit is None:
        shutil.copyfileobj(file, target, 2**20)
        return
    rows = 0
    for line in raw_lines(file):
        target.write(line)
        rows += not is_blank(line)
        if rows == limit:
            return


def copy_rows(file: IO[bytes], target: IO[bytes], limit: int | None) -> int:
    """Copy the lines that are not blank, each with a line feed; return their number."""
    rows = 0
    for number, line in enumerate(raw_lines(file)):
        if rows == limit:
            break
        if not is_blank(line):
            text = line if number else line.removeprefix(BOM)
            target.write(text.rstrip(b"\r\n") + b"\n")
            rows += 1
    return rows


def is_blank(line: bytes) -> bool:
    """Whether a line contains only spaces, or only a byte order mark."""
    return not line.removeprefix(BOM).strip()
