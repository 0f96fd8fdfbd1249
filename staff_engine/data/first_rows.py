"""The first rows of a data set, as a run would read them, without reading the rest."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from staff_engine.data.builtin.tasks import is_task, task_rows
from staff_engine.data.dataset import turns_of
from staff_engine.data.files.compression import compression_of, opened
from staff_engine.data.files.kinds import kind_of, write_rows, write_source
from staff_engine.data.files.lines import Line, parse_line, read_lines, starts_object
from staff_engine.data.formats import Mapping, choose_mapping
from staff_engine.data.sources import check_file, find_file
from staff_engine.data.turns import Row, Turn
from staff_engine.errors import DatasetError
from staff_engine.system.words import size_in_words

FIRST = 200
"""Number of rows that are read."""

READ_WHOLE = 32_000_000
"""Maximum bytes in memory: of a first line, or of a file that must be read whole."""

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
        return list(dict.fromkeys(name for row in self._rows[0] for name in row))

    def mapping(
        self, format: str | None = None, prompt_column: str | None = None, response_column: str | None = None
    ) -> Mapping:
        """The chosen record format, or the detected one.

        Raises
        ------
        DatasetError
            If none is recognised, the chosen one does not fit, or no row can be parsed.
        """
        rows, problem = self._rows
        if not rows:
            raise DatasetError(f"none of the first rows can be read: {problem or 'the data set is empty'}")
        return choose_mapping(rows, format, prompt_column, response_column)

    def read(self, mapping: Mapping | None, start: int = 0, count: int = FIRST) -> list[ReadRow]:
        """Some rows as a run reads them with this mapping; without a mapping, only their text."""
        read = []
        for line in self.lines[start : start + count]:
            turns, problem = turns_of(line, mapping) if mapping else ([], None)
            read.append(ReadRow(line.number, tuple(turns), problem, shown_line(line)))
        return read


def first_rows(source: str, split: str = "train") -> FirstRows:
    """Read the first rows of a file or of a built-in task, without asking a hub.

    Parameters
    ----------
    source
        A path, or `builtin:NAME`.
    split
        Of a built-in task.

    Raises
    ------
    DatasetError
        If it does not exist, cannot be read, or is empty.
    """
    check_file(source, split)
    with tempfile.TemporaryDirectory(prefix="staff-") as folder:
        lines = Path(folder) / "first.jsonl"
        unit = "line" if _write_first(source, split, lines) else "row"
        first = rows_of_lines(lines, unit)
    if not first.lines:
        raise DatasetError(f"{source} is empty")
    return first


def rows_of_lines(path: Path, unit: str) -> FirstRows:
    """The first rows of a file of JSON lines that was made from a source."""
    lines = tuple(itertools.islice(read_lines(path), FIRST + 1))
    return FirstRows(lines[:FIRST], unit, len(lines) > FIRST)


def shown_line(line: Line, most: int = 2000) -> str:
    """A line as text; bytes that are not UTF-8 are escaped."""
    raw = line.text[: 4 * most]
    try:
        text = raw.decode("utf-8", "surrogatepass")  # CSV bytes that are not text
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeError:
        text = raw.decode("utf-8", "backslashreplace")
    return text if len(text) <= most and len(line.text) <= 4 * most else f"{text[:most]}…"


def _write_first(source: str, split: str, target: Path) -> bool:
    """Write one row more than is read; return whether the lines are copied from the file."""
    if is_task(source):
        write_rows(itertools.islice(task_rows(source, split), FIRST + 1), target)
        return False
    path = find_file(source)
    try:
        kind = kind_of(path).suffix
        big = path.stat().st_size > READ_WHOLE
        if big and kind == ".json" and starts_object(path):
            raise DatasetError(
                f"{path} is a JSON object of over {BIG}, which must be read whole; convert it to JSON lines"
            )
        if big and kind == ".parquet" and compression_of(path):
            raise DatasetError(f"{path} is a compressed Parquet file of over {BIG}; decompress it first")
        if kind == ".jsonl" and _first_line_is_endless(path):
            raise DatasetError(f"{path}: the first line is longer than {BIG}; is the file JSON lines?")
    except OSError as error:
        raise DatasetError(f"data file {str(path)!r} cannot be read: {error}") from None
    return write_source(path, target, FIRST + 1)


def _first_line_is_endless(path: Path) -> bool:
    with opened(path) as file:
        return len(file.readline(READ_WHOLE)) == READ_WHOLE
