"""Any source → source.jsonl, one JSON line per row; and a table with the types of the source."""

from __future__ import annotations

import itertools
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.data.builtin.tasks import is_task, task_rows
from staff_engine.data.files.arrow_tables import BATCH, rows_of
from staff_engine.data.files.compression import compression_of
from staff_engine.data.files.data_file import DataFile
from staff_engine.data.files.kinds import KINDS, append_rows, suffix_of, write_rows, write_source
from staff_engine.data.locating import HubData, check_source, files_of
from staff_engine.data.reading import Reading
from staff_engine.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Fetched:
    """What the rows of source.jsonl are, and where they come from."""

    unit: str
    """"line" if they are the lines of one file, else "row"."""
    shards: tuple[tuple[int, str], ...] = ()
    """If they come from several files: the number of the first row of each, from 1, and its name."""

    def place(self, number: int) -> str:
        """Where a row is, as "line 7", or "row 7 (part-2.jsonl, row 3)"."""
        if not self.shards:
            return f"{self.unit} {number}"
        first, name = self.shards[bisect_right([start for start, _ in self.shards], number) - 1]
        return f"{self.unit} {number} ({name}, row {number - first + 1})"


def data_file(path: Path, reading: Reading) -> DataFile:
    """A file, and how its text is read."""
    return DataFile(path, reading.encoding, reading.delimiter)


def fetch_lines(source: str, lines: Path, split: str, limit: int | None, reading: Reading) -> Fetched:
    """Write source.jsonl from any source.

    Raises
    ------
    DatasetError
        If the source does not exist, cannot be read, or is damaged.
    """
    check_source(source, split)
    paths = files_of(source, split)
    if len(paths) == 1:
        own = write_source(data_file(paths[0], reading), lines, limit)
        return Fetched("line" if own else "row")
    if paths:
        return _fetch_shards(paths, lines, limit, reading)
    rows: Iterable[Any]
    with lines.open("wb") as out:
        rows = task_rows(source, split) if is_task(source) else rows_of(_hub_batches(source, split), source)
        write_rows(itertools.islice(rows, limit), out, source)
    return Fetched("row")


def keep_table(source: str, table: Path, split: str, limit: int | None) -> bool:
    """Write the rows of a source as Parquet with the types of the source, if it has types.

    An export to Parquet takes its rows from there. One Parquet file is copied.

    Returns
    -------
    bool
        Whether it was written: the source is Parquet, Arrow or on the hub, all its files have the same
        columns, and Parquet has their types.
    """
    paths = files_of(source, split)
    if is_task(source) or not all(KINDS[suffix_of(path)].batches for path in paths):
        return False
    if (
        len(paths) == 1
        and limit is None
        and suffix_of(paths[0]) == ".parquet"
        and not compression_of(paths[0])
    ):
        shutil.copyfile(paths[0], table)
        return True
    try:
        _write_parquet(_typed_batches(source, paths, split), table, limit)
    except _NoTable:
        table.unlink(missing_ok=True)
        return False
    return True


class _NoTable(Exception):
    """The rows have no common types, or types that Parquet does not have."""


def _fetch_shards(paths: list[Path], lines: Path, limit: int | None, reading: Reading) -> Fetched:
    first = 1
    shards = []
    with lines.open("wb") as out:
        for path in paths:
            left = None if limit is None else limit - (first - 1)
            if left == 0:
                break
            shards.append((first, path.name))
            first += append_rows(data_file(path, reading), out, left)
    return Fetched("row", tuple(shards))


def _typed_batches(source: str, paths: list[Path], split: str) -> Iterator[pa.RecordBatch]:
    if not paths:
        yield from _hub_batches(source, split)
    for path in paths:
        read = KINDS[suffix_of(path)].batches
        assert read is not None
        with closing(read(path, plain=True)) as batches:
            yield from batches


def _write_parquet(batches: Iterable[pa.RecordBatch], table: Path, limit: int | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    rows = 0
    try:
        for batch in batches:
            if writer is None:
                schema = batch.schema
                writer = pq.ParquetWriter(table, schema, compression="zstd")
            if not batch.schema.equals(schema):
                raise _NoTable
            batch = batch if limit is None else batch.slice(0, limit - rows)
            writer.write_table(pa.Table.from_batches([batch], schema=schema))
            rows += batch.num_rows
            if rows == limit:
                break
    except pa.ArrowException:
        raise _NoTable from None
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise _NoTable


def _hub_batches(source: str, split: str) -> Iterator[pa.RecordBatch]:
    from datasets import load_dataset

    hub = HubData.parse(source)
    try:
        loaded = load_dataset(hub.repository, hub.config, split=split, revision=hub.revision)
        loaded = loaded.with_format("arrow")
        for table in loaded.iter(batch_size=BATCH):
            yield from table.to_batches()
    except Exception as error:  # from the library, its network client or its decoders
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if "Config name is missing" in reason:
            details = " ".join(str(error).split())
            reason = f"it has several configurations; choose one with {source}:CONFIG ({details})"
        raise DatasetError(f"data set {source!r} cannot be loaded: {reason}") from error
