"""Scores that other tools computed: a file with a key for each row and columns of numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.data.rows import selected_lines
from staff_engine.errors import DatasetError
from staff_engine.system.words import first_few

if TYPE_CHECKING:
    import pyarrow as pa

ROW_ID = "row_id"
"""The key that is the index of a row in the imported data."""

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz")


@dataclass(frozen=True)
class ScoreFile:
    """The numbers of a file, for the rows of an import that it names."""

    row_ids: np.ndarray
    """int64 (n,): rows of the import, in the order of the file, each once."""
    columns: dict[str, np.ndarray]
    """float64 (n,) each; NaN where the file has no finite number."""
    unknown: int
    """Rows of the file whose key is not in the data."""


def read_score_file(path: Path, imported: Path, rows: int, *, key: str = ROW_ID) -> ScoreFile:
    """Read columns of numbers from a Parquet, CSV or TSV file, and find their rows in the data.

    Parameters
    ----------
    path
        The file.
    imported
        The folder of an import.
    rows
        Number of its rows.
    key
        `row_id`, or a field that both the file and each row of the data have. Its values are
        compared as text.

    Raises
    ------
    DatasetError
        If the file cannot be read, has no such column or no column of numbers, a key is missing
        or occurs twice, or no key is in the data.
    """
    table = _read(path, key)
    columns = {name: _numbers(table[name]) for name in _named_numbers(table, path, key)}
    keys = [_text(value) for value in table[key].to_pylist()]
    if "" in keys:
        raise DatasetError(f"{path.name} has no {key} in row {keys.index('') + 1}; every row needs one")
    _refuse_repeated(keys, np.arange(1, len(keys) + 1), f"{path.name} has {key}")
    row_of = {str(row): row for row in range(rows)} if key == ROW_ID else _rows_by_key(imported, rows, key)
    found = np.array([row_of.get(value, -1) for value in keys], dtype=np.int64)
    known = found >= 0
    if not known.any():
        raise DatasetError(
            f"no {key} of {path.name} is in the data: {first_few(keys)}; in the data: {first_few(row_of)}"
        )
    return ScoreFile(
        found[known], {name: values[known] for name, values in columns.items()}, int((~known).sum())
    )


def number_columns(path: Path, key: str) -> list[str]:
    """The columns of numbers of a file, as `read_score_file` reads them. Raises DatasetError."""
    return _named_numbers(_read(path, key), path, key)


def _named_numbers(table: pa.Table, path: Path, key: str) -> list[str]:
    if key not in table.column_names:
        raise DatasetError(
            f"{path.name} has no column {key!r}; its columns are {', '.join(table.column_names)}"
        )
    names = [name for name in table.column_names if _is_number(table[name], name, key)]
    if not names:
        raise DatasetError(
            f"{path.name} has no column of numbers; its columns are {', '.join(table.column_names)}"
        )
    return names


def _read(path: Path, key: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DatasetError(f"file type of {path.name!r} is unknown; allowed: {', '.join(SUFFIXES)}")
    try:
        if name.endswith(".parquet"):
            with pq.ParquetFile(path) as file:
                return file.read()
        return pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t" if ".tsv" in name else ","),
            convert_options=pyarrow.csv.ConvertOptions(column_types={key: pa.string()}),
        )
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def _is_number(column: pa.ChunkedArray, name: str, key: str) -> bool:
    from pyarrow import types

    kind = column.type
    return name != key and (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    import pyarrow as pa

    values = column.cast(pa.float64(), safe=False).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def _rows_by_key(imported: Path, rows: int, key: str) -> dict[str, int]:
    """The row of each value of a field of the data."""
    values = [_field(line, key) for _, line in selected_lines(imported, np.arange(rows))]
    known = [row for row, value in enumerate(values) if value]
    if not known:
        raise DatasetError(f"no row of the data has the field {key!r}")
    named = [values[row] for row in known]
    _refuse_repeated(named, known, f"the data has {key}")
    return dict(zip(named, known, strict=True))


def _field(line: bytes, key: str) -> str:
    try:
        row: Any = json.loads(line)
    except ValueError:
        return ""  # a broken line, which has no score either
    return _text(row.get(key) if isinstance(row, dict) else None)


def _text(value: Any) -> str:
    """A key as text: 7.0 is "7", because some tools write whole numbers as floats; "" if it is no key."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _refuse_repeated(values: Sequence[str], places: Sequence[int] | np.ndarray, what: str) -> None:
    seen: dict[str, int] = {}
    for value, place in zip(values, places, strict=True):
        if value in seen:
            raise DatasetError(
                f"{what} {value!r} in rows {seen[value]} and {place}; each value may occur once"
            )
        seen[value] = int(place)
