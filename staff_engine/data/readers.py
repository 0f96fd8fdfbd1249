"""Source files → source.jsonl and the byte range of every row in it."""

from __future__ import annotations

import io
import itertools
import json
import shutil
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from staff_engine.errors import DatasetError

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
COMPRESSED = (".gz", ".zst")
BOM = b"\xef\xbb\xbf"


def suffix_of(path: Path) -> str:
    """The file's kind: its suffix without that of the compression. Raises DatasetError if it is unknown."""
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    kind = ".jsonl" if name.suffix.lower() == ".ndjson" else name.suffix.lower()
    if kind not in SUFFIXES:
        raise DatasetError(
            f"data file {str(path)!r} is of no known kind; allowed are {' '.join(SUFFIXES)}, "
            f"also with {' '.join(COMPRESSED)} behind"
        )
    return kind


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes, unpacked if it is compressed; a damaged one raises OSError."""
    codec = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix.lower())
    if codec is None:
        with path.open("rb") as file:
            yield file
        return
    import pyarrow as pa  # of the unpackers at hand the one that notices a file cut short

    with pa.OSFile(str(path), "rb") as packed, pa.CompressedInputStream(packed, codec) as stream:
        yield io.BufferedReader(stream)


def write_source(path: Path, target: Path, limit: int | None = None) -> bool:
    """Write the rows of a data file as JSON lines; those of a .jsonl file as they are, byte for byte.

    Parameters
    ----------
    limit
        Most rows, from the first on; what stands behind them is not read.

    Returns
    -------
    bool
        Whether the lines are the file's own.

    Raises
    ------
    DatasetError
        If the file cannot be read, is damaged or of no known kind; names it and the line.
    """
    kind = suffix_of(path)
    if kind == ".json" and is_lines(path):
        kind = ".jsonl"
    try:
        with opened(path) as file:
            if kind == ".jsonl":
                _copy_lines(file, target, limit)
            else:
                rows = {".json": json_rows, ".csv": csv_rows, ".parquet": parquet_rows}[kind](file, path)
                with closing(rows):  # before the file that it reads
                    write_rows(itertools.islice(rows, limit), target)
    except OSError as error:
        raise DatasetError(f"data file {str(path)!r} cannot be read: {error}") from None
    return kind == ".jsonl"


def _copy_lines(file: IO[bytes], target: Path, limit: int | None) -> None:
    with target.open("wb") as out:
        if limit is None:
            shutil.copyfileobj(file, out, 2**20)
            return
        rows = 0
        while rows < limit and (line := file.readline()):
            out.write(line)
            rows += bool(line.removeprefix(BOM).strip())


def write_rows(rows: Iterator[dict[str, Any]], target: Path) -> None:
    """Write rows as compact JSON lines."""
    with target.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")


def is_lines(path: Path) -> bool:
    """Whether a .json file is JSON lines after all: its first line is a whole object and there is another."""
    with opened(path) as file:
        lines = (line for raw in file if (line := raw.removeprefix(BOM).strip()))
        first, second = next(lines, b""), next(lines, b"")
    if not first.startswith(b"{") or not second:
        return False
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


def json_rows(file: IO[bytes], path: Path) -> Generator[dict[str, Any]]:
    try:
        raw = file.read()
        # a byte that is no text is to hurt its row, not the file
        content = json.loads(raw.decode(json.detect_encoding(raw), "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON: {error}") from None
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        if len(lists) != 1:
            raise DatasetError(f"{path} is a JSON object with {len(lists)} lists; an array of rows is needed")
        content = lists[0]
    if not isinstance(content, list):
        raise DatasetError(f"{path} holds a {type(content).__name__}; an array of rows is needed")
    yield from content


def csv_rows(file: IO[bytes], path: Path) -> Generator[dict[str, Any]]:
    import csv

    csv.field_size_limit(2**31 - 1)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise DatasetError(f"{path} is empty; a first line with the names of the columns is needed")
        if len(set(header)) < len(header):
            raise DatasetError(f"{path}: a column name stands twice in line 1")
        for fields in reader:
            if fields and len(fields) != len(header):
                raise DatasetError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, the header has {len(header)}"
                )
            if fields:
                yield dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: {error}") from None
    finally:
        text.detach()


def parquet_rows(file: IO[bytes], path: Path) -> Generator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        packed = path.suffix.lower() in COMPRESSED
        table = pq.ParquetFile(io.BytesIO(file.read()) if packed else path)
        names = table.schema_arrow.names
        if len(set(names)) < len(names):
            raise DatasetError(f"{path}: a column name stands twice in {', '.join(names)}")
        for batch in table.iter_batches(1000):
            yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise DatasetError(f"{path} is no Parquet file: {error}") from None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file that is not blank, without its line end."""

    number: int  # in the file, from 1
    start: int  # place of its first byte
    end: int  # place behind its last byte
    text: bytes


def read_lines(path: Path) -> Iterator[Line]:
    """The lines that are not blank; a byte order mark is no part of the first."""
    place = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            start = place + (len(BOM) if number == 1 and raw.startswith(BOM) else 0)
            text = raw[start - place :].rstrip(b"\r\n")
            if text.strip():
                yield Line(number, start, start + len(text), text)
            place += len(raw)


def parse_line(line: Line) -> dict[str, Any]:
    """The object in a line. Raises DatasetError that says what is wrong with it."""
    try:
        row = json.loads(line.text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DatasetError(f"not UTF-8 (byte {error.start + 1})") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise DatasetError(f"is a JSON {type(row).__name__}, should be an object")
    return row
