"""A source → an imported folder of samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.data.detection import choose_mapping
from staff_engine.data.fetching import Fetched, fetch_lines, keep_table
from staff_engine.data.files.lines import Line, parse_line, read_lines
from staff_engine.data.formats import is_conversation, normalise
from staff_engine.data.reading import DETECT, Mapping, Reading
from staff_engine.data.repeats.leaving_out import rows_to_leave_out
from staff_engine.data.texts import Row
from staff_engine.data.turns import Turn
from staff_engine.errors import DatasetError
from staff_engine.system.files import new_folder, write_json

if TYPE_CHECKING:
    import datasets

CHUNK = 1000
CHUNK_BYTES = 2**25
"""Maximum rows and bytes in memory at once; whichever is reached first."""

TABLE_FILE = "source.parquet"
"""The rows with the types of their source, in an import from a source that has types."""

LOOKED_AT = 100
"""Rows from which the format is detected."""


@dataclass(frozen=True)
class Facts:
    """Facts about an imported data set."""

    source: str
    format: str
    prompt_column: str | None
    response_column: str | None
    rows: int
    fingerprint: str  # sha256 over the normalised rows
    source_sha256: str  # of source.jsonl
    conversation: bool
    reading: dict[str, Any] = field(default_factory=dict)
    """The fields of the mapping; empty for an import of an older version."""

    @property
    def mapping(self) -> Mapping:
        """How rows become turns."""
        if not self.reading:
            return Mapping(self.format, self.prompt_column, self.response_column)
        return Mapping.load(self.reading)


@dataclass(frozen=True)
class Imported:
    """An imported data set: its folder, its facts, and its rows as a memory-mapped table."""

    folder: Path
    facts: Facts

    @cached_property
    def rows(self) -> datasets.Dataset:
        """Columns row_id, turns, problem, start, end; see docs/use/data.md."""
        from datasets import Dataset

        return Dataset.from_file(str(self.folder / "rows.arrow"))


def open_imported(folder: Path) -> Imported:
    """Open what `import_dataset` wrote. Raises DatasetError if it does not exist."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        return Imported(folder, Facts(**facts))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{folder} does not contain an imported data set: {error}") from None


def import_dataset(
    source: str,
    folder: Path,
    reading: Reading = DETECT,
    *,
    split: str = "train",
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Imported:
    """Copy a data set into a folder and normalise its rows, in constant memory.

    Parameters
    ----------
    source
        A file, a folder or pattern of files, `builtin:NAME`, or a hub name, where `NAME:CONFIG` chooses a
        configuration.
    folder
        Where to write. It must not exist yet, and is created completely or not at all.
    reading
        How it is read: format and columns, encoding and so on; detected by default.
    split
        The split of a hub data set or of a built-in task.
    limit
        Maximum number of rows, from the first.
    on_progress
        Called after each chunk with its number of rows.

    Raises
    ------
    DatasetError
        If it cannot be read, or has no usable row.
    """
    with new_folder(folder) as part:
        lines = part / "source.jsonl"
        fetched = fetch_lines(source, lines, split, limit, reading)
        keep_table(source, part / TABLE_FILE, split, limit)
        mapping = choose_for_lines(lines, fetched, source, reading)
        left_out = rows_to_leave_out(lines, mapping, reading, fetched)
        rows, fingerprint = _write_rows(
            lines, fetched, source, mapping, left_out, part / "rows.arrow", on_progress
        )
        facts = Facts(
            source,
            mapping.format,
            mapping.prompt_column,
            mapping.response_column,
            rows,
            fingerprint,
            _sha256(lines),
            is_conversation(mapping),
            asdict(mapping),
        )
        write_json(part / "facts.json", asdict(facts))
    return open_imported(folder)


def choose_for_lines(path: Path, fetched: Fetched, source: str, reading: Reading) -> Mapping:
    """Choose how to read all rows, from the first ones that can be parsed."""
    head: list[Row] = []
    seen = 0
    first_problem = None
    for line in read_lines(path):
        try:
            head.append(parse_line(line))
        except DatasetError as error:
            first_problem = first_problem or f"{fetched.place(line.number)}: {error}"
        else:
            seen += len(line.text)
        if len(head) == LOOKED_AT or seen > CHUNK_BYTES:
            break
    if not head:
        raise DatasetError(f"{source} has no usable row: {first_problem or 'it is empty'}")
    try:
        return choose_mapping(head, reading)
    except DatasetError as error:
        raise DatasetError(f"{source}: {error}") from None


def _write_rows(
    path: Path,
    fetched: Fetched,
    source: str,
    mapping: Mapping,
    left_out: dict[int, str],
    target: Path,
    on_progress: Callable[[int], None] | None,
) -> tuple[int, str]:
    """Normalise every row into an Arrow file; return the number of rows and the fingerprint."""
    import pyarrow as pa

    turn = pa.struct(
        [("role", pa.string()), ("content", pa.string()), ("trained", pa.bool_()), ("call", pa.bool_())]
    )
    schema = pa.schema(
        [
            ("row_id", pa.int64()),
            ("turns", pa.list_(turn)),
            ("problem", pa.string()),
            ("start", pa.int64()),
            ("end", pa.int64()),
        ]
    )
    digest = hashlib.sha256()
    usable = 0
    count = 0
    first_problem = None
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for chunk in _chunks(path):
            rows = []
            for line in chunk:
                turns, problem = turns_of(line, mapping)
                if line.number in left_out:
                    turns, problem = [], left_out[line.number]
                digest.update(json.dumps(turns, ensure_ascii=False).encode("utf-8"))
                usable += problem is None
                problem = problem and f"{fetched.place(line.number)}: {problem}"
                first_problem = first_problem or problem
                rows.append((count, turns, problem, line.start, line.end))
                count += 1
            columns = [
                pa.array(values, field.type)
                for values, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            if on_progress:
                on_progress(len(rows))
    if not usable:
        raise DatasetError(f"{source} has no usable row: {first_problem}")
    return count, digest.hexdigest()


def turns_of(line: Line, mapping: Mapping) -> tuple[list[Turn], str | None]:
    """The turns of a row and None, or no turns and what is wrong with the row."""
    try:
        return normalise(parse_line(line), mapping), None
    except DatasetError as error:
        return [], str(error)


def _chunks(path: Path) -> Iterator[list[Line]]:
    chunk: list[Line] = []
    size = 0
    for line in read_lines(path):
        chunk.append(line)
        size += len(line.text)
        if len(chunk) == CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
