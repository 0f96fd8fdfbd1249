"""Parquet files, Arrow files and saved data sets → batches of Arrow columns, and these → rows."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.data.files.bounds import most_in_value, value_too_large
from staff_engine.data.files.compression import compression_of, opened
from staff_engine.data.files.values import to_values
from staff_engine.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1000
"""Rows that are converted at a time."""

Batches = Generator["pa.RecordBatch"]


def parquet_batches(path: Path, *, plain: bool = False) -> Batches:
    """The rows of a Parquet file, a batch at a time; a compressed one is unpacked into memory.

    Parameters
    ----------
    plain
        Whether columns have the types of the file. Otherwise texts are read as dictionaries, so that a
        long text that is repeated is in memory once.

    Raises
    ------
    DatasetError
        If it is damaged.
    """

    def read() -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
        source = _unpacked(path)
        schema = pq.read_schema(source)
        _check_names(schema.names, path)
        repeated = [] if plain else [field.name for field in schema if field.type in texts]
        yield from pq.ParquetFile(source, read_dictionary=repeated).iter_batches(BATCH)

    return _checked(read(), path, "a Parquet file")


def parquet_rows(path: Path) -> int:
    """The number of rows of a Parquet file. Raises DatasetError if it is damaged."""
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(_unpacked(path)).num_rows)
    except Exception as error:
        raise _unreadable(path, "a Parquet file", error) from None


def arrow_batches(path: Path, *, plain: bool = False) -> Batches:
    """The rows of an Arrow file, a stream or a random access file, a batch at a time. Raises DatasetError."""

    def read() -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        source = _unpacked(path)
        try:
            batches: Iterable[pa.RecordBatch] = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(index) for index in range(file.num_record_batches))
        for batch in batches:
            batch.validate(full=True)
            _check_names(batch.schema.names, path)
            for start in range(0, batch.num_rows, BATCH):
                yield batch.slice(start, BATCH)

    return _checked(read(), path, "an Arrow file")


def rows_of(batches: Iterable[pa.RecordBatch], name: str) -> Generator[dict[str, Any]]:
    """The rows of batches as JSON values; `name` is their source. Raises DatasetError with the column."""
    most = most_in_value()
    for batch in batches:
        columns = {}
        for field, column in zip(batch.schema, batch.columns, strict=True):
            try:
                columns[field.name] = to_values(column)
            except Exception as error:  # a value that Python or JSON does not have
                raise DatasetError(
                    f"{name}: column {field.name!r} of type {field.type} cannot be read: {error}"
                ) from None
        for field_name, values in columns.items():
            if any(isinstance(value, str) and len(value) > most for value in values):
                raise value_too_large(f"{name}: a value in column {field_name!r}")
        for row in range(batch.num_rows):
            yield {field_name: values[row] for field_name, values in columns.items()}


def saved_files(folder: Path, split: str) -> list[Path]:
    """The Arrow files of a folder that `save_to_disk` of datasets wrote, in order.

    Parameters
    ----------
    split
        The split to read, if the folder contains several.

    Raises
    ------
    DatasetError
        If the folder is damaged, or does not have the split.
    """
    splits = _described(folder / "dataset_dict.json", "splits")
    if splits is not None:
        if split not in splits:
            raise DatasetError(f"{folder} has no split {split!r}; allowed: {', '.join(map(str, splits))}")
        folder = folder / split
    files = _described(folder / "state.json", "_data_files")
    try:
        paths = [folder / entry["filename"] for entry in files or ()]
    except (KeyError, TypeError):
        paths = []
    if not paths or not all(path.is_file() for path in paths):
        raise DatasetError(f"{folder} is not a complete folder of save_to_disk: its Arrow files are missing")
    return paths


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` of datasets wrote a folder."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _described(path: Path, key: str) -> list[Any] | None:
    """A list in a JSON file of `save_to_disk`; None if there is no such file."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged: {error}") from None
    if not isinstance(found, list):
        raise DatasetError(f"{path} is damaged: {key!r} is not a list")
    return found


def _checked(batches: Iterator[pa.RecordBatch], path: Path, what: str) -> Batches:
    """The same batches; every error of the library is a DatasetError."""
    try:
        yield from batches
    except Exception as error:  # damaged files raise errors of many types
        raise _unreadable(path, what, error) from None


def _unreadable(path: Path, what: str, error: Exception) -> DatasetError:
    if isinstance(error, DatasetError):
        return error
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return DatasetError(f"{path} is not {what} that can be read: {reason}")


def _check_names(names: list[str], path: Path) -> None:
    if len(set(names)) < len(names):
        raise DatasetError(f"{path}: duplicate column name in {', '.join(names)}")


def _unpacked(path: Path) -> Any:
    """The file as a source for pyarrow. Raises DatasetError."""
    import pyarrow as pa

    with opened(path) as file:
        return pa.BufferReader(file.read()) if compression_of(path) else pa.OSFile(str(path), "rb")
