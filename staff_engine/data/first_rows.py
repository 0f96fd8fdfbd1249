"""The first rows of a data set, as a run would read them, without reading the rest."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from staff_engine.data.dataset import turns_of
from staff_engine.data.detection import choose_mapping, columns_of
from staff_engine.data.fetching import Fetched, data_file, fetch_lines
from staff_engine.data.files.compression import compression_of, opened
from staff_engine.data.files.kinds import kind_of
from staff_engine.data.files.lines import Line, first_character, parse_line, read_lines
from staff_engine.data.locating import files_of
from staff_engine.data.reading import DETECT, Mapping, Reading
from staff_engine.data.sources import check_file
from staff_engine.data.texts import Row
from staff_engine.data.turns import Turn
from staff_engine.errors import DatasetError
from staff_engine.system.words import size_in_words

FIRST = 200
"""Number of rows that are read."""

READ_WHOLE = 32_000_000
"""Maximum bytes of a file that must be read whole."""

BIG = size_in_words(READ_WHOLE)


@dataclass(frozen=True)
class ReadRow:
    """A row, and how a run would read it."""

    number: int  # of its line or row, from 1
    turns: tuple[Turn, ...]  # empty if it cannot be used
    problem: str | None  # why it cannot be used
    text: str  # the line


@dataclass(frozen=True)
class FirstRows:
    """The first lines of a data set."""

    lines: tuple[Line, ...]
    unit: str  # "line" if they are lines of a file, else "row"
    more: bool  # whether there are more lines after them

    @property
    def rows(self) -> list[Row]:
        """The rows that can be parsed."""
        return self._rows[0]

    @cached_property
    def _rows(self) -> tuple[list[Row], str]:
        """The rows that can be parsed, and the first problem with the others."""
        rows, problem = [], ""
        for line in self.lines:
            try:
                rows.append(parse_line(line))
            except DatasetError as error:
                problem = problem or f"{self.unit} {line.number}: {error}"
        return rows, problem

    @property
    def columns(self) -> list[str]:
        """The field names of the rows, in order of first appearance."""
        return columns_of(self.rows)

    def mapping(self, reading: Reading = DETECT) -> Mapping:
        """The chosen record format, or the detected one.

        Raises
        ------
        DatasetError
            If none is recognised, the chosen one does not fit, or no row can be parsed.
        """
        rows, problem = self._rows
        if not rows:
            raise DatasetError(f"none of the first rows can be read: {problem or 'the data set is empty'}")
        return choose_mapping(rows, reading)

    def read(self, mapping: Mapping | None, start: int = 0, count: int = FIRST) -> list[ReadRow]:
        """Some rows as a run reads them with this mapping; without a mapping, only their text."""
        read = []
        for line in self.lines[start : start + count]:
            turns, problem = turns_of(line, mapping) if mapping else ([], None)
            read.append(ReadRow(line.number, tuple(turns), problem, shown_line(line)))
        return read


def first_rows(source: str, split: str = "train", reading: Reading = DETECT) -> FirstRows:
    """Read the first rows of a file, of several, or of a built-in task, without asking a hub.

    Parameters
    ----------
    source
        A path, or `builtin:NAME`.
    split
        Of a built-in task.
    reading
        Its encoding and delimiter are used here, its other fields by `FirstRows.mapping`.

    Raises
    ------
    DatasetError
        If it does not exist, cannot be read, or is empty.
    """
    check_file(source, split)
    for path in files_of(source, split):
        _refuse_large(path, reading)
    with tempfile.TemporaryDirectory(prefix="staff-") as folder:
        lines = Path(folder) / "first.jsonl"
        fetched = fetch_lines(source, lines, split, FIRST + 1, reading)
        first = rows_of_lines(lines, fetched)
    if not first.lines:
        raise DatasetError(f"{source} is empty")
    return first


def rows_of_lines(path: Path, fetched: Fetched) -> FirstRows:
    """The first rows of a file of JSON lines that was made from a source."""
    lines = tuple(itertools.islice(read_lines(path), FIRST + 1))
    return FirstRows(lines[:FIRST], fetched.unit, len(lines) > FIRST)


def shown_line(line: Line, most: int = 2000) -> str:
    """A line as text; bytes that are not UTF-8 are escaped."""
    raw = line.text[: 4 * most]
    try:
        text = raw.decode("utf-8", "surrogatepass")  # CSV bytes that are not text
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeError:
        text = raw.decode("utf-8", "backslashreplace")
    return text if len(text) <= most and len(line.text) <= 4 * most else f"{text[:most]}…"


def _refuse_large(path: Path, reading: Reading) -> None:
    """Raise DatasetError for a large file that must be read whole before its first row is known."""
    source = data_file(path, reading)
    kind = kind_of(source)
    if kind.suffix == ".json" and _is_large(path):
        with source.open_text() as file:
            if first_character(file) == b"{":
                raise DatasetError(
                    f"{path} is a JSON object of over {BIG}, which must be read whole; "
                    "convert it to JSON lines"
                )
    if kind.batches and compression_of(path) and _is_large(path):
        raise DatasetError(f"{path} is a compressed {kind.label} of over {BIG}; decompress it first")


def _is_large(path: Path) -> bool:
    """Whether a file, or its content after decompression, has more than `READ_WHOLE` bytes."""
    if path.stat().st_size > READ_WHOLE:
        return True
    if not compression_of(path):
        return False
    left = READ_WHOLE
    with opened(path) as file:
        while left >= 0 and (piece := file.read(min(left + 1, 2**20))):
            left -= len(piece)
    return left < 0
