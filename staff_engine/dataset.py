"""File, hub name or builtin:NAME → an imported folder of samples."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from staff_engine.errors import DatasetError
from staff_engine.files import new_folder, write_json
from staff_engine.hub import hub_answers, in_hub_cache
from staff_engine.readers import BOM, suffix_of, write_rows, write_source
from staff_engine.records import CONVERSATIONS, Mapping, Row, Turn, choose_mapping, normalise
from staff_engine.tasks import TASKS

if TYPE_CHECKING:
    import datasets

CHUNK = 1000
LOOKED_AT = 100
"""Rows from which the format is detected."""


@dataclass(frozen=True)
class Facts:
    """What is known of an imported data set."""

    source: str
    format: str
    prompt_column: str | None
    response_column: str | None
    rows: int
    fingerprint: str  # sha256 over the normalised rows
    source_sha256: str  # of source.jsonl
    conversation: bool


@dataclass(frozen=True)
class Imported:
    """An imported data set: its folder, its facts, and its rows as a memory-mapped table."""

    folder: Path
    facts: Facts

    @cached_property
    def rows(self) -> datasets.Dataset:
        """Columns row_id, turns, problem, start, end; see docs/data.md."""
        from datasets import Dataset

        return Dataset.from_file(str(self.folder / "rows.arrow"))


def open_imported(folder: Path) -> Imported:
    """Open what `import_dataset` wrote. Raises DatasetError if it is not there."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder} holds no imported data set: {error}") from None
    return Imported(folder, Facts(**facts))


def import_dataset(
    source: str,
    folder: Path,
    *,
    format: str | None = None,
    prompt_column: str | None = None,
    response_column: str | None = None,
    split: str = "train",
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Imported:
    """Copy a data set into a folder and normalise its rows; memory does not grow with them.

    Raises
    ------
    DatasetError
        If it cannot be read, or no row of it can be used.
    """
    with new_folder(folder) as part:
        lines = part / "source.jsonl"
        _write_source(source, lines, split, limit)
        mapping = _choose(lines, source, format, (prompt_column, response_column))
        rows, fingerprint = _write_rows(lines, part / "rows.arrow", mapping, source, limit, on_progress)
        facts = Facts(
            source,
            mapping.format,
            mapping.prompt_column,
            mapping.response_column,
            rows,
            fingerprint,
            _sha256(lines),
            mapping.format in CONVERSATIONS,
        )
        write_json(part / "facts.json", asdict(facts))
    return open_imported(folder)


def check_source(source: str) -> None:
    """Say before any work whether a data set is there: a file, a built-in task, or a hub to ask.

    Raises
    ------
    DatasetError
        If it is not, or is of no known kind.
    """
    path = Path(source).expanduser()
    if source.startswith("builtin:"):
        if source.removeprefix("builtin:") not in TASKS:
            raise DatasetError(f"data set {source!r} is not built in; built in are {', '.join(TASKS)}")
    elif path.is_file():
        suffix_of(path)
    elif path.is_dir():
        raise DatasetError(f"data file {source!r} is a folder")
    elif path.suffix or path.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
        raise DatasetError(f"data file {source!r} does not exist")
    elif not in_hub_cache(source, "README.md", "dataset") and not hub_answers():
        raise DatasetError(f"data set {source!r} is no file on this machine, and the hub cannot be reached")


def _write_source(source: str, lines: Path, split: str, limit: int | None) -> None:
    """Write source.jsonl from wherever the data comes from."""
    check_source(source)
    path = Path(source).expanduser()
    if path.is_file():
        write_source(path, lines)
        return
    task = TASKS.get(source.removeprefix("builtin:"))
    rows = task() if source.startswith("builtin:") and task else _hub_rows(source, split)
    write_rows(itertools.islice(rows, limit), lines)


def _hub_rows(name: str, split: str) -> Iterator[Row]:
    from datasets import load_dataset

    try:
        yield from load_dataset(name, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DatasetError(f"data set {name!r} cannot be loaded: {reason}") from error


@dataclass(frozen=True)
class _Line:
    number: int  # in the file, from 1
    start: int
    end: int
    text: bytes


def _lines(path: Path) -> Iterator[_Line]:
    """The lines that are not blank, without their line ends and the file's byte order mark."""
    place = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            start = place + (len(BOM) if number == 1 and raw.startswith(BOM) else 0)
            text = raw[start - place :].rstrip(b"\r\n")
            if text.strip():
                yield _Line(number, start, start + len(text), text)
            place += len(raw)


def _parse(line: _Line) -> Row:
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


def _choose(path: Path, source: str, format: str | None, columns: tuple[str | None, str | None]) -> Mapping:
    """Look at the first rows that can be read, and say how to read all."""
    head: list[Row] = []
    first_problem = "it is empty"
    for line in _lines(path):
        try:
            head.append(_parse(line))
        except DatasetError as error:
            first_problem = (
                f"line {line.number}: {error}" if first_problem == "it is empty" else first_problem
            )
        if len(head) == LOOKED_AT:
            break
    if not head:
        raise DatasetError(f"{source} has no row that can be used: {first_problem}")
    return choose_mapping(head, format, *columns)


def _write_rows(
    lines: Path,
    target: Path,
    mapping: Mapping,
    source: str,
    limit: int | None,
    on_progress: Callable[[int], None] | None,
) -> tuple[int, str]:
    """Normalise every row into an Arrow file; returns their number and the fingerprint."""
    import pyarrow as pa

    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
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
        for chunk in _batched(itertools.islice(_lines(lines), limit)):
            rows = []
            for line in chunk:
                turns, problem = _turns(line, mapping)
                digest.update(json.dumps(turns, ensure_ascii=False).encode("utf-8"))
                usable += problem is None
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
        raise DatasetError(f"{source} has no row that can be used: {first_problem}")
    return count, digest.hexdigest()


def _turns(line: _Line, mapping: Mapping) -> tuple[list[Turn], str | None]:
    try:
        turns = normalise(_parse(line), mapping)
        "".join(turn["content"] for turn in turns).encode("utf-8")
    except DatasetError as error:
        return [], f"line {line.number}: {error}"
    except UnicodeEncodeError as error:
        return [], f"line {line.number}: \\u{ord(error.object[error.start]):04x} is half a character, no text"
    return turns, None


def _batched(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    while chunk := list(itertools.islice(lines, CHUNK)):
        yield chunk


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
