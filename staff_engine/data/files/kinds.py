"""Source files → source.jsonl: the file types that can be read."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from staff_engine.data.files.arrow_tables import (
    Batches,
    arrow_batches,
    parquet_batches,
    parquet_rows,
    rows_of,
)
from staff_engine.data.files.bounds import most_unpacked, unpacks_too_far
from staff_engine.data.files.compression import COMPRESSED, bare, compression_of
from staff_engine.data.files.csv_tables import csv_rows
from staff_engine.data.files.data_file import DataFile
from staff_engine.data.files.encodings import HEAD, detect_encoding, is_utf8
from staff_engine.data.files.json_arrays import json_rows
from staff_engine.data.files.lines import (
    copy_lines,
    copy_rows,
    first_character,
    is_blank,
    is_lines,
    raw_lines,
)
from staff_engine.errors import DatasetError


@dataclass(frozen=True)
class FileKind:
    """A type of data file. It has `rows`, or `batches`, or neither: then each line is a row."""

    suffix: str
    label: str
    """Its name for people."""
    rows: Callable[[IO[bytes], DataFile], Generator[Any]] | None = None
    """Reads the rows of an open text file, given which file it is too."""
    batches: Callable[..., Batches] | None = None
    """Reads the rows of a table with types as Arrow batches, given its path."""
    count: Callable[[Path], int] | None = None
    """Reads only the number of rows, given the path; None: the rows are read and counted."""
    aliases: tuple[str, ...] = ()
    """Other suffixes of this type."""

    @property
    def is_lines(self) -> bool:
        """Whether each line of the file is a row."""
        return self.rows is None and self.batches is None


_JSON_LINES = FileKind(".jsonl", "JSON lines", aliases=(".ndjson",))
_JSON_ARRAY = FileKind(".json", "JSON array", json_rows)

_KINDS = (
    _JSON_LINES,
    _JSON_ARRAY,
    FileKind(".csv", "CSV table", csv_rows),
    FileKind(".tsv", "Table with tabs", csv_rows),
    FileKind(".parquet", "Parquet table", batches=parquet_batches, count=parquet_rows),
    FileKind(".arrow", "Arrow table", batches=arrow_batches, aliases=(".feather",)),
)

KINDS = {kind.suffix: kind for kind in _KINDS}
"""By suffix."""

SUFFIXES = tuple(KINDS)

_BY_NAME = {suffix: kind for kind in _KINDS for suffix in (kind.suffix, *kind.aliases)}

ALL_SUFFIXES = tuple(_BY_NAME)
"""All suffixes, with aliases."""


def is_data_file(path: Path) -> bool:
    """Whether a file has a known type, by its name."""
    return bare(path).suffix.lower() in _BY_NAME


def suffix_of(path: Path) -> str:
    """The suffix of a file's type, compressed or not. Raises DatasetError if the type is unknown."""
    if not is_data_file(path):
        raise DatasetError(
            f"data file {str(path)!r} has an unknown file type; allowed: {' '.join(SUFFIXES)}, "
            f"also followed by {' or '.join(COMPRESSED)}"
        )
    return _BY_NAME[bare(path).suffix.lower()].suffix


def kind_of(source: DataFile) -> FileKind:
    """The type of a file: by its name, and for JSON also by its content.

    Raises
    ------
    DatasetError
        If the type is unknown, or the file cannot be read.
    """
    kind = KINDS[suffix_of(source.path)]
    if kind.suffix == ".json":
        with source.open_text() as file:
            return _JSON_LINES if is_lines(file) else kind
    if kind.is_lines:
        with source.open_text() as file:
            return _JSON_ARRAY if first_character(file) == b"[" else kind
    return kind


def is_plain_lines(source: DataFile) -> bool:
    """Whether a file consists of JSON lines in UTF-8, which can be read as they are. Raises DatasetError."""
    if compression_of(source.path) or KINDS[suffix_of(source.path)].suffix != ".jsonl":
        return False
    with source.path.open("rb") as file:
        encoding = source.encoding or detect_encoding(file.read(HEAD))
    return is_utf8(encoding) and kind_of(source).is_lines


def write_source(source: DataFile, target: Path, limit: int | None = None) -> bool:
    """Write the rows of a data file as JSON lines; those of a UTF-8 .jsonl file are copied.

    Parameters
    ----------
    limit
        Maximum number of rows, from the first; the rest of the file is not read.

    Returns
    -------
    bool
        Whether the lines are those of the file.

    Raises
    ------
    DatasetError
        If the file cannot be read, is damaged or has an unknown type. The message names file and line.
    """
    kind = kind_of(source)
    if kind.is_lines:
        with source.open_text() as file, target.open("wb") as out:
            copy_lines(file, out, limit)
        return True
    with target.open("wb") as out:
        _write_table(kind, source, out, limit)
    return False


def append_rows(source: DataFile, out: IO[bytes], limit: int | None = None) -> int:
    """Append the rows of one of several data files as JSON lines, without blank lines; return their number.

    Raises
    ------
    DatasetError
        As `write_source`.
    """
    kind = kind_of(source)
    if kind.is_lines:
        with source.open_text() as file:
            return copy_rows(file, out, limit)
    return _write_table(kind, source, out, limit)


def count_file(source: DataFile, limit: int | None = None) -> int:
    """The number of rows of a data file, without converting them to samples. Raises DatasetError."""
    kind = kind_of(source)
    if kind.count:
        rows = kind.count(source.path)
        return rows if limit is None else min(rows, limit)
    return sum(1 for _ in itertools.islice(_all_rows(kind, source), limit))


def _all_rows(kind: FileKind, source: DataFile) -> Iterator[object]:
    """The rows of a file, or its lines that are not blank."""
    if kind.batches:
        for batch in kind.batches(source.path):
            yield from range(batch.num_rows)
        return
    with source.open_text() as file:
        if kind.rows:
            with closing(kind.rows(file, source)) as rows:
                yield from rows
        else:
            yield from (line for line in raw_lines(file) if not is_blank(line))


def _write_table(kind: FileKind, source: DataFile, out: IO[bytes], limit: int | None) -> int:
    """Write the rows of a file that is not JSON lines; return their number."""
    name = str(source.path)
    if kind.batches:
        bound = most_unpacked(source.path.stat().st_size)  # its columns are compressed
        with closing(kind.batches(source.path)) as batches, closing(rows_of(batches, name)) as rows:
            return write_rows(itertools.islice(rows, limit), out, name, bound)
    assert kind.rows is not None
    with source.open_text() as file, closing(kind.rows(file, source)) as rows:  # close it before its file
        return write_rows(itertools.islice(rows, limit), out, name)


def write_rows(rows: Iterable[Any], out: IO[bytes], name: str, bound: int | None = None) -> int:
    """Write rows as compact JSON lines, and return their number.

    An unpaired surrogate is written as an escape, so that the line is UTF-8 and only its own value
    is unusable.

    Parameters
    ----------
    name
        The source of the rows, for messages.
    bound
        Maximum bytes to write; None: any number.

    Raises
    ------
    DatasetError
        If a value is not a JSON value, or the rows take more bytes.
    """
    count = written = 0
    for row in rows:
        count += 1
        try:
            text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise DatasetError(f"{name}, row {count:,} cannot be written as JSON: {error}") from None
        written += out.write(text.encode("utf-8", "backslashreplace") + b"\n")
        if bound is not None and written > bound:
            raise unpacks_too_far(name, bound)
    return count
