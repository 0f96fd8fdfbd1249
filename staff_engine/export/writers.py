"""Write the rows of an export to a file: JSON texts, tables and row numbers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from staff_engine.data.files.arrow_tables import rows_of
from staff_engine.export.layouts import OPTIONAL, fill
from staff_engine.export.lines import STAFF, write_lines
from staff_engine.export.rows import Layout, Rows
from staff_engine.export.tabular import write_batches, write_csv, write_parquet

BLOCK = 2**20
"""Bytes that are compressed at once."""


class Writer(Protocol):
    """Writes the rows of an export, and shows how the file begins."""

    def write(self, rows: Rows, path: Path, suffix: str) -> int:
        """Write all rows to `path` and return their number.

        `suffix` is that of the file's final name, which can choose between two layouts.
        """

    def preview(self, rows: Rows, count: int, *, complete: bool) -> str:
        """The beginning of the file as text, up to its first `count` rows.

        `complete` says whether the file ends after them. Columns come from all of `rows`.
        """


@dataclass(frozen=True)
class JsonTexts:
    """One JSON text for each row: one per line, or in an array.

    Attributes
    ----------
    texts
        Starts a pass over the rows as JSON texts.
    array
        Whether the file is one array; None: if its name ends in .json.
    """

    texts: Callable[[Rows], Iterator[bytes]]
    array: bool | None

    def write(self, rows: Rows, path: Path, suffix: str) -> int:
        """Write the texts."""
        array = suffix == ".json" if self.array is None else self.array
        with path.open("wb") as file:
            return write_lines(file, self.texts(rows), array=array)

    def preview(self, rows: Rows, count: int, *, complete: bool) -> str:
        """The first texts."""
        texts = [text.decode("utf-8", "replace") for text in islice(self.texts(rows), count)]
        if self.array:
            return "[\n" + ",\n".join(texts) + ("\n]\n" if complete else ",\n")
        return "".join(f"{text}\n" for text in texts)


@dataclass(frozen=True)
class Zstandard:
    """The file of another writer, compressed."""

    writer: Writer

    def write(self, rows: Rows, path: Path, suffix: str) -> int:
        """Write the file, and compress it."""
        import pyarrow as pa

        with tempfile.TemporaryDirectory(prefix=".staff-", dir=path.parent) as made:
            plain = Path(made) / "rows"
            count = self.writer.write(rows, plain, suffix)
            with plain.open("rb") as source, pa.CompressedOutputStream(str(path), "zstd") as file:
                while block := source.read(BLOCK):
                    file.write(block)
        return count

    def preview(self, rows: Rows, count: int, *, complete: bool) -> str:
        """The beginning of the file before it is compressed."""
        return self.writer.preview(rows, count, complete=complete)


def laid_out(
    layout: Layout, *, has_optional: bool = False, carries: bool = False
) -> Callable[[Rows], Iterator[bytes]]:
    """The texts of a layout: the turns of each row as a record, in JSON.

    Parameters
    ----------
    has_optional
        Whether some records of the layout have fields of `layouts.OPTIONAL`. A first pass then collects
        those that any row needs, because readers expect one set of columns.
    carries
        Whether the records also keep the columns of `layouts.CARRIED`, which are optional too.
    """

    def texts(rows: Rows) -> Iterator[bytes]:
        records = rows.records(layout) if has_optional else ()
        optional = {name for _, record in records for name in record if name in OPTIONAL}
        optional.update(rows.carried_columns() if carries else ())
        for row_id, record in rows.records(layout, carries=carries):
            staff = {STAFF: rows.decisions.staff(row_id)} if rows.with_scores else {}
            yield json.dumps(fill(record, optional) | staff, ensure_ascii=False).encode("utf-8")

    return texts


@dataclass(frozen=True)
class Csv:
    """The fields of the imported rows as a CSV table; see `tabular.write_csv`."""

    spreadsheet: bool = False
    """Whether text that a spreadsheet would read as a formula gets an apostrophe."""

    def write(self, rows: Rows, path: Path, suffix: str) -> int:
        """Write the table."""
        return write_csv(path, lambda: rows.objects(flat=True), spreadsheet=self.spreadsheet)

    def preview(self, rows: Rows, count: int, *, complete: bool) -> str:
        """The header of all rows, and the first rows below it."""
        objects = list(rows.objects(flat=True))
        columns = dict.fromkeys(name for row in objects for name in row)
        first = [{**columns, **row} for row in objects[:count]]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.csv"
            write_csv(path, lambda: first, spreadsheet=self.spreadsheet)
            return path.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Parquet:
    """The fields of the imported rows as a Parquet table; see `tabular.write_parquet`."""

    def write(self, rows: Rows, path: Path, suffix: str) -> int:
        """Write the table, with the types of the source if it has any."""
        typed = rows.typed_batches()
        return write_parquet(path, rows.objects) if typed is None else write_batches(path, typed)

    def preview(self, rows: Rows, count: int, *, complete: bool) -> str:
        """The columns with their types, and the first rows as JSON."""
        import pyarrow.parquet as pq

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.parquet"
            self.write(rows, path, path.suffix)
            with pq.ParquetFile(path) as file:
                types = "\n".join(f"# {field.name}: {field.type}" for field in file.schema_arrow)
                first = islice(rows_of(file.iter_batches(batch_size=count), path.name), count)
                lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in first)
        return types + "\n" + lines.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class RowNumbers:
    """Row ids only: one per line, or an int64 array if the file's name ends in .npy."""

    def write(self, rows: Rows, path: Path, suffix: str) -> int:
        """Write the row ids."""
        with path.open("wb") as file:
            if suffix == ".npy":
                np.save(file, rows.row_ids.astype(np.int64))
            else:
                np.savetxt(file, rows.row_ids, fmt="%d")
        return len(rows.row_ids)

    def preview(self, rows: Rows, count: int, *, complete: bool) -> str:
        """The first row ids."""
        return "".join(f"{row_id}\n" for row_id in rows.row_ids[:count])
