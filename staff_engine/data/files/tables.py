"""CSV and Parquet files → rows."""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from staff_engine.data.files.compression import compression_of
from staff_engine.errors import DatasetError


def csv_rows(file: IO[bytes], path: Path) -> Generator[dict[str, Any]]:
    """The rows of a CSV file, one after the other. Raises DatasetError with the line number."""
    import csv

    csv.field_size_limit(2**31 - 1)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise DatasetError(f"{path} is empty; its first line must contain the column names")
        if len(set(header)) < len(header):
            raise DatasetError(f"{path}: duplicate column name in line 1")
        for fields in reader:
            if fields and len(fields) != len(header):
                raise DatasetError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, but the header has {len(header)}"
                )
            if fields:
                yield dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: {error}") from None
    finally:
        text.detach()


def parquet_rows(file: IO[bytes], path: Path) -> Generator[dict[str, Any]]:
    """The rows of a Parquet file, a batch at a time; a compressed one is read whole. Raises DatasetError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        packed = compression_of(path)
        table = pq.ParquetFile(io.BytesIO(file.read()) if packed else path)
        names = table.schema_arrow.names
        if len(set(names)) < len(names):
            raise DatasetError(f"{path}: duplicate column name in {', '.join(names)}")
        for batch in table.iter_batches(1000):
            yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise DatasetError(f"{path} is not a Parquet file: {error}") from None
