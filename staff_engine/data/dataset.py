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
from staff_engine.errors import DatasetError, RunError
from staff_engine.system.files import new_folder, read_checked, write_checked
from staff_engine.system.hub import hub_answers, in_hub_cache

if TYPE_CHECKING:
    import datasets

CHUNK = 1000
CHUNK_BYTES = 2**25
"""Maximum rows and bytes in memory at once; whichever is reached first."""

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
    """Open what `import_dataset` wrote. Raises DatasetError if it does not exist or is damaged."""
    try:
        return Imported(folder, Facts(**read_checked(folder / "facts.json")))
    except (RunError, TypeError) as error:
        raise DatasetError(f"{folder} does not contain an imported data set: {error}") from None


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
    """Copy a data set into a folder and normalise its rows, in constant memory.

    Parameters
    ----------
    source
        A file, `builtin:NAME`, or a hub name, where `NAME:CONFIG` chooses a configuration.
    folder
        Where to write. It must not exist yet, and is created completely or not at all.
    format, prompt_column, response_column
        The record format; detected by default.
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
        write_checked(part / "facts.json", asdict(facts))
    return open_imported(folder)


def check_source(source: str, split: str = "train") -> None:
    """Check before any work that a data set exists: a file, a built-in task, or a hub that can be reached.

    Raises
    ------
    DatasetError
        If it does not exist, or its file type or split is unknown. The message says what is allowed.
    """
    if is_task(source):
        check_task(source, split)
        return
    try:
        path = Path(source).expanduser()
        there = path.is_file(), path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long, an unknown user, a NUL
        raise DatasetError(f"data set {source!r} is not a valid file name: {error}") from None
    if there[0]:
        suffix_of(path)
    elif there[1]:
        raise DatasetError(f"data file {source!r} is a folder; give a file in it")
    elif names_a_file(source):
        raise DatasetError(f"data file {source!r} does not exist")
    elif not in_hub_cache(source.partition(":")[0], "README.md", "dataset") and not hub_answers():
        raise DatasetError(
            f"data set {source!r} is not a file on this machine, and the hub cannot be reached; allowed: "
            f"a file ({' '.join(SUFFIXES)}), a hub name and {', '.join(f'builtin:{name}' for name in TASKS)}"
        )


def names_a_file(source: str) -> bool:
    """Whether a missing source names a file. A hub name may contain a dot too: teknium/OpenHermes-2.5."""
    path = Path(source).expanduser()
    if path.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1 or "\\" in source:
        return True
    if "/" in source:
        return path.suffix.lower() in (*SUFFIXES, *COMPRESSED) or path.parent.is_dir()
    return bool(path.suffix)


def fetch_lines(source: str, lines: Path, split: str, limit: int | None) -> bool:
    """Write source.jsonl from any source; return whether its lines are copied from a file."""
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
    except Exception as error:  # from the library, its network client or its decoders
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if "Config name is missing" in reason:
            details = " ".join(str(error).split())
            reason = f"it has several configurations; choose one with {name}:CONFIG ({details})"
        raise DatasetError(f"data set {source!r} cannot be loaded: {reason}") from error


def choose_for_lines(
    path: Path, unit: str, source: str, by_hand: tuple[str | None, str | None, str | None]
) -> Mapping:
    """Choose how to read all rows, from the first ones that can be parsed."""
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
        raise DatasetError(f"{source} has no usable row: {first_problem or 'it is empty'}")
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
    """Normalise every row into an Arrow file; return the number of rows and the fingerprint."""
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
        raise DatasetError(f"{source} has no usable row: {first_problem}")
    return count, digest.hexdigest()


def turns_of(line: Line, mapping: Mapping) -> tuple[list[Turn], str | None]:
    """The turns of a row and None, or no turns and what is wrong with the row."""
    try:
        turns = normalise(parse_line(line), mapping)
        "".join(turn["content"] for turn in turns).encode("utf-8")
    except DatasetError as error:
        return [], str(error)
    except UnicodeEncodeError as error:
        return [], f"\\u{ord(error.object[error.start]):04x} is an unpaired surrogate, not valid text"
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
