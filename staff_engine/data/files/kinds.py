"""Source files → source.jsonl: the file types that can be read."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from staff_engine.data.files.compression import COMPRESSED, bare, opened
from staff_engine.data.files.json_arrays import json_rows
from staff_engine.data.files.lines import copy_lines, is_lines
from staff_engine.data.files.tables import csv_rows, parquet_rows
from staff_engine.errors import DatasetError


@dataclass(frozen=True)
class FileKind:
    """A type of data file."""

    suffix: str
    label: str
    """Its name for people."""
    rows: Callable[[IO[bytes], Path], Generator[Any]] | None = None
    """Reads the rows of an open file, given its path too; None: each line is a row."""
    aliases: tuple[str, ...] = ()
    """Other suffixes of this type."""


_JSON_LINES = FileKind(".jsonl", "JSON lines", aliases=(".ndjson",))

_KINDS = (
    _JSON_LINES,
    FileKind(".json", "JSON array", json_rows),
    FileKind(".csv", "CSV table", csv_rows),
    FileKind(".parquet", "Parquet table", parquet_rows),
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


def kind_of(path: Path) -> FileKind:
    """The type of a file by its name; a .json file with JSON lines is recognised by its content.

    Raises
    ------
    DatasetError
        If the type is unknown.
    OSError
        If the file cannot be read.
    """
    kind = KINDS[suffix_of(path)]
    return _JSON_LINES if kind.suffix == ".json" and is_lines(path) else kind


def write_source(path: Path, target: Path, limit: int | None = None) -> bool:
    """Write the rows of a data file as JSON lines; those of a .jsonl file are copied byte for byte.

    Parameters
    ----------
    limit
        Maximum number of rows, from the first; the rest of the file is not read.

    Returns
    -------
    bool
        Whether the lines are copied from the file.

    Raises
    ------
    DatasetError
        If the file cannot be read, is damaged or has an unknown type. The message names file and line.
    """
    try:
        kind = kind_of(path)
        with opened(path) as file:
            if kind.rows is None:
                copy_lines(file, target, limit)
            else:
                with closing(kind.rows(file, path)) as rows:  # close it before its file
                    write_rows(itertools.islice(rows, limit), target)
    except OSError as error:
        raise DatasetError(f"data file {str(path)!r} cannot be read: {error}") from None
    return kind.rows is None


def write_rows(rows: Iterator[dict[str, Any]], target: Path) -> None:
    """Write rows as compact JSON lines."""
    with target.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")
