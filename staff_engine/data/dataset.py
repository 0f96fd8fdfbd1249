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

from staff_engine.data.builtin.tasks import TASKS, check_task, is_task, task_rows
from staff_engine.data.files.compression import COMPRESSED
from staff_engine.data.files.kinds import SUFFIXES, suffix_of, write_rows, write_source
from staff_engine.data.files.lines import Line, parse_line, read_lines
from staff_engine.data.formats import Mapping, choose_mapping, find_format, normalise
from staff_engine.data.turns import Row, Turn
from staff_engine.errors import DatasetError
from staff_engine.system.files import new_folder, write_json
from staff_engine.system.hub import hub_answers, in_hub_cache

if TYPE_CHECKING:
    import datasets

CHUNK = 1000
CHUNK_BYTES = 2**25
"""Rows and bytes, whichever is reached first, that are held in memory at once."""

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
        """Columns row_id, turns, problem, start, end; see docs/use/data.md."""
        from datasets import Dataset

        return Dataset.from_file(str(self.folder / "rows.arrow"))


def open_imported(folder: Path) -> Imported:
    """Open what `import_dataset` wrote. Raises DatasetError if it is not there."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        return Imported(folder, Facts(**facts))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{folder} holds no imported data set: {error}") from None


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

    Parameters
    ----------
    source
        A file, `builtin:NAME`, or a hub name, where `NAME:CONFIG` chooses a configuration.
    folder
        Where to write; made whole or not at all, and not there yet.
    format, prompt_column, response_column
        The record format by hand; detected where they are not given.
    split
        The split of a hub data set or of a built-in task.
    limit
        Most rows, from the first on.
    on_progress
        Called with the number of rows after each chunk of them.

    Raises
    ------
    DatasetError
        If it cannot be read, or no row of it can be used.
    """
    with new_folder(folder) as part:
        lines = part / "source.jsonl"
        unit = "line" if fetch_lines(source, lines, split, limit) else "row"
        mapping = choose_for_lines(lines, unit, source, (format, prompt_column, response_column))
        rows, fingerprint = _write_rows(lines, unit, source, mapping, part / "rows.arrow", on_progress)
        facts = Facts(
            source,
            mapping.format,
            mapping.prompt_column,
            mapping.response_column,
            rows,
            fingerprint,
            _sha256(lines),
            find_format(mapping.format).conversation,
        )
        write_json(part / "facts.json", asdict(facts))
    return open_imported(folder)


def check_source(source: str, split: str = "train") -> None:
    """Say before any work whether a data set is there: a file, a built-in task, or a hub to ask.

    Raises
    ------
    DatasetError
        If it is not, is of no known kind, or a task has no such split; says what is allowed.
    """
    if is_task(source):
        check_task(source, split)
        return
    try:
        path = Path(source).expanduser()
        there = path.is_file(), path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long, nobody's home, a NUL
        raise DatasetError(f"data set {source!r} is no name of a file: {error}") from None
    if there[0]:
        suffix_of(path)
    elif there[1]:
        raise DatasetError(f"data file {source!r} is a folder; a file in it is needed")
    elif names_a_file(source):
        raise DatasetError(f"data file {source!r} does not exist")
    elif not in_hub_cache(source.partition(":")[0], "README.md", "dataset") and not hub_answers():
        raise DatasetError(
            f"data set {source!r} is no file on this machine, and the hub cannot be reached; allowed are "
            f"a file ({' '.join(SUFFIXES)}), a hub name and {', '.join(f'builtin:{name}' for name in TASKS)}"
        )


def names_a_file(source: str) -> bool:
    """Whether what is not there would be a file. Hub names may have a dot too, as teknium/OpenHermes-2.5."""
    path = Path(source).expanduser()
    if path.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1 or "\\" in source:
        return True
    if "/" in source:
        return path.suffix.lower() in (*SUFFIXES, *COMPRESSED) or path.parent.is_dir()
    return bool(path.suffix)


def fetch_lines(source: str, lines: Path, split: str, limit: int | None) -> bool:
    """Write source.jsonl from wherever the data comes from; returns whether its lines are a file's own."""
    check_source(source, split)
    path = Path(source).expanduser()
    if path.is_file() and not is_task(source):
        return write_source(path, lines, limit)
    rows = task_rows(source, split) if is_task(source) else _hub_rows(source, split)
    write_rows(itertools.islice(rows, limit), lines)
    return False


def _hub_rows(source: str, split: str) -> Iterator[Row]:
    from datasets import load_dataset

    name, _, config = source.partition(":")
    try:
        yield from load_dataset(name, config or None, split=split)
    except Exception as error:  # the library's, its network client's, and those of whatever it decodes with
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if "Config name is missing" in reason:
            reason = f"it has several configurations; say {name}:CONFIG ({' '.join(str(error).split())})"
        raise DatasetError(f"data set {source!r} cannot be loaded: {reason}") from error


def choose_for_lines(
    path: Path, unit: str, source: str, by_hand: tuple[str | None, str | None, str | None]
) -> Mapping:
    """Look at the first rows that can be read, and say how to read all."""
    head: list[Row] = []
    seen = 0
    first_problem = None
    for line in read_lines(path):
        try:
            head.append(parse_line(line))
        except DatasetError as error:
            first_problem = first_problem or f"{unit} {line.number}: {error}"
        else:
            seen += len(line.text)
        if len(head) == LOOKED_AT or seen > CHUNK_BYTES:
            break
    if not head:
        raise DatasetError(f"{source} has no row that can be used: {first_problem or 'it is empty'}")
    try:
        return choose_mapping(head, *by_hand)
    except DatasetError as error:
        raise DatasetError(f"{source}: {error}") from None


def _write_rows(
    path: Path,
    unit: str,
    source: str,
    mapping: Mapping,
    target: Path,
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
        for chunk in _chunks(path):
            rows = []
            for line in chunk:
                turns, problem = turns_of(line, mapping)
                digest.update(json.dumps(turns, ensure_ascii=False).encode("utf-8"))
                usable += problem is None
                problem = problem and f"{unit} {line.number}: {problem}"
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


def turns_of(line: Line, mapping: Mapping) -> tuple[list[Turn], str | None]:
    """The turns of a row, or none and what is wrong with it."""
    try:
        turns = normalise(parse_line(line), mapping)
        "".join(turn["content"] for turn in turns).encode("utf-8")
    except DatasetError as error:
        return [], str(error)
    except UnicodeEncodeError as error:
        return [], f"\\u{ord(error.object[error.start]):04x} is half a character, no text"
    return turns, None


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
