"""CSV files → rows: the delimiter, the header, the cells."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Generator, Iterator, Sequence
from typing import IO, Any, TextIO

from staff_engine.data.files.bounds import most_in_value, value_too_large
from staff_engine.data.files.data_file import DataFile
from staff_engine.data.files.encodings import EXAMPLES
from staff_engine.errors import DatasetError

DELIMITERS = (",", ";", "\t", "|")
"""The delimiters that are detected; the first of equally good ones is used."""

NAMED = {"tab": "\t", "\\t": "\t"}
"""Ways to write a delimiter that a shell makes hard to type."""

LOOKED_AT = 30
"""Lines from which the delimiter is detected."""


def csv_rows(file: IO[bytes], source: DataFile) -> Generator[dict[str, Any]]:
    """The rows of a CSV file, one after the other.

    Blank lines are skipped, also before the header. Column names lose the spaces around them. Cells
    without a column name are left out if they are empty, otherwise they are named by their position.

    Raises
    ------
    DatasetError
        With the line number.
    """
    csv.field_size_limit(min(most_in_value(), 2**31 - 1))
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        lines = _lines(text)
        first = list(itertools.islice(lines, LOOKED_AT))
        delimiter = delimiter_of(source.delimiter, first)
        reader = csv.reader(itertools.chain(first, lines), delimiter=delimiter, strict=True)
        yield from _rows(reader, source)
    finally:
        text.detach()


def delimiter_of(given: str | None, lines: Sequence[str]) -> str:
    """The delimiter of a table: the given one, or the one that cuts its first lines into most equal rows.

    Raises
    ------
    DatasetError
        If the given one is not a single character.
    """
    if given is not None:
        character = NAMED.get(given, given)
        if len(character) != 1 or character in '"\r\n':
            raise DatasetError(f"delimiter is {given!r}; allowed: one character, or tab")
        return character
    return max(DELIMITERS, key=lambda each: _fit(each, lines))


def _fit(delimiter: str, lines: Sequence[str]) -> tuple[bool, int]:
    """Whether a delimiter cuts all lines into as many cells as the header, at least two; and how many."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if any(map(str.strip, row))]
    except csv.Error:
        return False, 0
    width = len(rows[0]) if rows else 0
    complete = rows[:-1] if len(lines) == LOOKED_AT else rows  # the last one may continue
    return width > 1 and all(len(row) == width for row in complete), width


def _lines(text: TextIO) -> Iterator[str]:
    most = most_in_value()
    number = 0
    while line := text.readline(most + 1):
        number += 1
        if len(line) > most:
            raise value_too_large(f"line {number:,}")
        yield line


def _rows(reader: Any, source: DataFile) -> Iterator[dict[str, Any]]:
    path = source.path
    try:
        header = next((row for row in reader if any(map(str.strip, row))), None)
        if header is None:
            raise DatasetError(f"{path} is empty; its first line must contain the column names")
        names = _names(header, f"{path}, line {reader.line_num}")
        for cells in reader:
            if cells:
                yield _row(names, cells, f"{path}, line {reader.line_num}", source)
    except csv.Error as error:
        if "field larger" in str(error):
            raise value_too_large(f"{path}, line {reader.line_num}: a cell") from None
        raise DatasetError(f"{path}, line {reader.line_num}: {error}") from None


def _names(header: Sequence[str], where: str) -> list[str]:
    """The column names; empty for a column without one."""
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    named = [name for name in names if name]
    for name in named:
        if name.encode("utf-8", "replace").decode() != name:
            raise DatasetError(
                f"{where}: the column name {name.encode('utf-8', 'surrogateescape')!r} is not UTF-8 text; "
                f"give the encoding of the file with --encoding, for example {EXAMPLES}"
            )
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise DatasetError(f"{where}: duplicate column name {twice!r}")
    return names


def _row(names: Sequence[str], cells: list[str], where: str, source: DataFile) -> dict[str, Any]:
    while len(cells) > len(names) and not cells[-1]:
        cells.pop()
    if len(cells) != len(names):
        hint = "; is the delimiter right (--delimiter)?" if source.delimiter else ""
        if len(names) == 1:
            hint = f"; it is {names[0]!r}: if that is a title, remove it, else set --delimiter"
        raise DatasetError(f"{where}: {len(cells)} fields, but the header has {len(names)}{hint}")
    return {
        name or f"column {number}": cell
        for number, (name, cell) in enumerate(zip(names, cells, strict=True), start=1)
        if name or cell
    }
