"""NumPy arrays ↔ Arrow columns, without pandas.

pyarrow imports pandas, if it is installed, in `pa.array`, in `to_numpy` and with its dataset
module (`pq.read_table`). That takes half a second, too long for a command such as `select`.
These functions pass the buffers on directly.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from staff_engine.errors import RunError
from staff_engine.system.files import replaced

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


NPZ_ERRORS = (OSError, ValueError, KeyError, EOFError, RuntimeError, BadZipFile, zlib.error)
"""What reading a damaged .npz file can raise. Its members have checksums."""


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Convert a numeric column without nulls to a read-only array; copied only to join chunks."""
    array: np.ndarray = np.from_dlpack(column.combine_chunks())
    return array


def to_arrow(values: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """Convert numbers or booleans (n,) to a column; null where `valid`, bool (n,), is False."""
    import pyarrow as pa

    data = _bits(values) if values.dtype == bool else np.ascontiguousarray(values)
    buffers = [None if valid is None else pa.py_buffer(_bits(valid)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def by_row(count: int, row_ids: np.ndarray, values: np.ndarray, *, missing: float = np.nan) -> np.ndarray:
    """Expand the values of some rows to a column of all rows.

    Parameters
    ----------
    count
        Total number of rows.
    row_ids : int (n,)
        0 to count - 1, each once, in any order.
    values : (n,)
    missing
        The value of the other rows.

    Returns
    -------
    (count,)
        float64; int64 if `missing` is an int.
    """
    column = np.full(count, missing)
    column[row_ids] = values
    return column


def texts(values: Sequence[str]) -> pa.Array:
    """Convert texts to a column."""
    import pyarrow as pa

    encoded = [value.encode("utf-8") for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; its pages are compared with their checksums as they are read.

    Raises
    ------
    RunError
        If it is missing or damaged, also while it is read inside the block.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{path} is damaged: {first_line(error)}") from None


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file. Raises RunError if it is missing or damaged."""
    with open_parquet(path) as file:
        return file.read(columns=columns)


def write_table(path: Path, **columns: np.ndarray) -> None:
    """Write numeric arrays as the columns of a Parquet file, atomically, with page checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replaced(path) as part:
        table = pa.table({name: to_arrow(values) for name, values in columns.items()})
        pq.write_table(table, part, write_page_checksum=True)


@contextmanager
def open_stream(path: Path) -> Iterator[pa.RecordBatchStreamReader]:
    """Open a memory-mapped Arrow stream. Raises RunError as `open_parquet` does."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            yield stream
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{path} is damaged: {first_line(error)}") from None


def count_rows(path: Path) -> int | None:
    """Rows of a Parquet file or of an Arrow stream; None for any other file. Raises RunError."""
    if path.suffix == ".parquet":
        with open_parquet(path) as file:
            return int(file.metadata.num_rows)
    if path.suffix == ".arrow":
        with open_stream(path) as stream:
            rows = 0
            for batch in stream:
                batch.validate(full=True)  # a wrong offset would crash its reader
                rows += batch.num_rows
            return rows
    return None


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _bits(values: np.ndarray) -> np.ndarray:
    return np.packbits(values, bitorder="little")
