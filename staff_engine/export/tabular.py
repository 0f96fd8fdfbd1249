"""JSON rows → CSV and Parquet: one set of columns, collected in a first pass over the rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
Rows = Callable[[], Iterable[Row]]
"""Starts a pass over the rows: they are read again for each pass, and never all in memory."""

CHUNK = 2_000
FREE = ("arguments", "parameters")
"""Names of objects in tool calls whose keys are the caller's own."""

MOST_FIELDS = 100
"""An object with more different keys than this, over all rows, is a lookup table and written as text."""


def write_csv(path: Path, rows: Rows) -> int:
    """Write rows as CSV in UTF-8 with a header; return their number.

    Columns are the fields of all rows, in order of first appearance. Text is unchanged; a
    missing field or null is an empty cell; numbers, booleans, lists and objects are JSON text.
    An unpaired surrogate, which UTF-8 cannot represent, becomes "?".
    """
    columns = list(dict.fromkeys(name for row in rows() for name in row))
    count = 0
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        plain = csv.writer(file, lineterminator="\n")
        quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

        def write(cells: list[str]) -> None:
            # the module quotes a carriage return only if it is part of the line ending
            (quoting if any("\r" in cell for cell in cells) else plain).writerow(cells)

        write(columns)
        for row in rows():
            write([_text(row.get(name)) for name in columns])
            count += 1
    return count


def write_batches(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Write batches with their own types as Parquet, compressed with zstd; return the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    writer = None
    try:
        for batch in batches:
            writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd")
            writer.write_table(pa.Table.from_batches([batch]))
            count += batch.num_rows
    finally:
        if writer is not None:
            writer.close()
    return count


def write_parquet(path: Path, rows: Rows) -> int:
    """Write rows as Parquet, compressed with zstd; return their number.

    A column has the type that pyarrow infers from its values: integers and floats together
    are floats, objects get the keys of all rows, and missing values are null. If values have
    no common type, or one that Parquet or 64 bits cannot represent, the column is text:
    strings unchanged, anything else as JSON. Objects with free keys, the arguments of tool calls, are
    JSON text if their keys differ: with the keys of all calls, each would have arguments that it was not
    called with.
    """
    rows = _with_own_keys(rows)
    types = _column_types(rows)
    while True:
        try:
            return _write_typed(path, rows, types)
        except _Misfit as misfit:
            types[misfit.column] = _string()


def _with_own_keys(rows: Rows) -> Rows:
    """The same rows, where the objects of each name of `FREE` are JSON text if their keys differ."""
    shapes: dict[str, set[Any]] = {}
    for row in rows():
        _collect(row, shapes)
    differing = {name for name, found in shapes.items() if len(found) > 1}
    return (lambda: (_as_text(row, differing) for row in rows())) if differing else rows


def _collect(value: Any, shapes: dict[str, set[Any]]) -> None:
    """Add the shape of every object with a name of `FREE` in a value; two of a name are enough."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name in FREE and isinstance(inner, dict):
            found = shapes.setdefault(name, set())
            if len(found) < 2:
                found.add(_shape(inner))
        else:
            _collect(inner, shapes)
    for inner in value if isinstance(value, list) else ():
        _collect(inner, shapes)


def _shape(value: Any) -> Any:
    """The keys of an object and of all objects in it."""
    if isinstance(value, dict):
        return tuple(sorted((name, _shape(inner)) for name, inner in value.items()))
    if isinstance(value, list):
        return frozenset(map(_shape, value))
    return ()


def _as_text(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: _text(inner) if name in names and isinstance(inner, dict) else _as_text(inner, names)
            for name, inner in value.items()
        }
    return [_as_text(inner, names) for inner in value] if isinstance(value, list) else value


class _Misfit(Exception):
    """A value does not fit the common type of its column."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def _write_typed(path: Path, rows: Rows, types: dict[str, pa.DataType]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(list(types.items()))
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in _chunks(rows()):
            columns = [_column(name, [row.get(name) for row in chunk], kind) for name, kind in types.items()]
            writer.write_table(pa.table(columns, schema=schema))
            count += len(chunk)
    return count


def _column(name: str, values: list[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if kind == _string():
        return pa.array([None if value is None else _utf8(_text(value)) for value in values], kind)
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        raise _Misfit(name) from None


def _column_types(rows: Rows) -> dict[str, pa.DataType]:
    """The type of each column over all chunks of rows, in order of first appearance."""
    types: dict[str, pa.DataType] = {}
    for chunk in _chunks(rows()):
        for name in dict.fromkeys(name for row in chunk for name in row):
            kind = _inferred([row.get(name) for row in chunk])
            types[name] = _unified(types[name], kind) if name in types else kind
    return types


def _inferred(values: list[Any]) -> pa.DataType:
    import pyarrow as pa

    try:
        return _storable(pa.array(values).type)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return _string()


def _unified(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    schemas = [pa.schema([("", kind)]) for kind in (first, second)]
    try:
        return _storable(pa.unify_schemas(schemas, promote_options="permissive").field(0).type)
    except pa.ArrowException:
        return _string()


def _storable(kind: pa.DataType) -> pa.DataType:
    """The type, or text if Parquet lacks it (an object without keys) or it would have too many fields."""
    leaves = _leaves(kind)
    return _string() if 0 in leaves or len(leaves) > MOST_FIELDS else kind


def _leaves(kind: pa.DataType) -> list[int]:
    """An entry for each innermost type: 0 for an object without keys, 1 for any other."""
    import pyarrow as pa

    if kind.num_fields == 0:
        return [0 if pa.types.is_struct(kind) else 1]
    return [leaf for i in range(kind.num_fields) for leaf in _leaves(kind.field(i).type)]


def _string() -> pa.DataType:
    import pyarrow as pa

    return pa.string()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
