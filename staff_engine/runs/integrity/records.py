"""Size, rows and sha256 of every lasting file of a run, in `files.json`.

A file is recorded when the stage that wrote it ends, and every minute while a stage runs. A file
without a record, as in runs of older versions, is recorded when it is first read. Files that are
written again and again (state, times, settings) contain a checksum of their own instead.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from staff_engine.errors import RunError
from staff_engine.system.arrow import count_rows
from staff_engine.system.files import read_model, write_checked

RECORDS_FILE = "files.json"
LOCK_FILE = ".files.lock"
LOCK_SECONDS = 10.0

SUFFIXES = (".parquet", ".arrow", ".safetensors")
NAMES = ("source.jsonl", "facts.json", "adapter_config.json", "tokenizer.json")
"""The files that are recorded, by suffix or name."""

REWRITTEN = ("tokens-*.arrow", "held_out/*/tokens.arrow")
"""Files that are not: they are made again whenever a run continues."""

PASSING = ("exports", "*.part", "*_checkpoints", "*.damaged")
"""Folders whose files are not recorded: copies, and what is unfinished or set aside."""

log = logging.getLogger(__name__)


class FileRecord(BaseModel):
    """What is known of a file; frozen."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    changed: int
    """Time of its last change, in ns since the epoch, when its content was last hashed."""
    rows: int | None = None
    """None for a file that is not a table."""
    sha256: str


class _Records(BaseModel):
    files: dict[str, FileRecord] = {}


def load_records(folder: Path) -> Mapping[str, FileRecord]:
    """The records of a run's files, by path relative to its folder; none if there are no records.

    Damaged records are ignored, with a warning in the log: the files are recorded again.
    """
    path = folder / RECORDS_FILE
    try:
        stat = path.stat()
        return _load(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        return {}
    except (OSError, RunError) as error:
        log.warning("files are recorded again: %s", error)
        return {}


@lru_cache(maxsize=16)
def _load(path: Path, changed: int, size: int) -> Mapping[str, FileRecord]:
    return read_model(path, _Records).files


def lasting_files(folder: Path, names: Collection[str] = ()) -> Iterator[str]:
    """Yield the files of a run that are recorded, relative to its folder.

    Parameters
    ----------
    names
        Files and sub-folders to look at; all if empty.
    """
    for start in [folder / name for name in names] or [folder]:
        for path in [start] if start.is_file() else start.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if _lasts(PurePosixPath(name)) and path.is_file():
                yield name


def _lasts(path: PurePosixPath) -> bool:
    if path.suffix not in SUFFIXES and path.name not in NAMES:
        return False
    return not in_passing_folder(path) and not any(path.match(pattern) for pattern in REWRITTEN)


def in_passing_folder(path: PurePosixPath) -> bool:
    """Whether a path relative to a run's folder is in a folder whose files do not last."""
    return any(fnmatch(folder.name, pattern) for folder in path.parents for pattern in PASSING)


def record_of(path: Path) -> FileRecord:
    """Read a file completely, and describe it. Raises RunError if it is damaged, OSError if not readable."""
    stat = path.stat()
    return FileRecord(
        bytes=stat.st_size, changed=stat.st_mtime_ns, rows=count_rows(path), sha256=sha256_of(path)
    )


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_files(folder: Path) -> None:
    """Record the files of a run that are new. What cannot be read now is left for the check."""
    known = load_records(folder)
    new = {}
    for name in lasting_files(folder):
        if name not in known:
            try:
                new[name] = record_of(folder / name)
            except (OSError, RunError) as error:
                log.warning("%s is not recorded: %s", name, error)
    update_records(folder, new)


def forget(folder: Path, *names: str) -> None:
    """Remove the records of files and sub-folders, before they are written again or deleted."""
    gone = [name for name in load_records(folder) if within(name, names)]
    if gone:
        update_records(folder, {}, gone)


def update_records(folder: Path, changes: Mapping[str, FileRecord], gone: Collection[str] = ()) -> None:
    """Add, replace and remove records. In a folder that cannot be written, nothing is recorded."""
    from filelock import FileLock, Timeout

    if not changes and not gone:
        return
    try:
        with FileLock(folder / LOCK_FILE, timeout=LOCK_SECONDS):
            files = {**load_records(folder), **changes}
            kept = {name: files[name] for name in sorted(files) if name not in gone}
            write_checked(folder / RECORDS_FILE, _Records(files=kept).model_dump(mode="json"))
    except (OSError, Timeout) as error:
        log.warning("files of run %s are not recorded: %s", folder.name, error)


def within(name: str, names: Collection[str]) -> bool:
    """Whether a file is one of these files, or in one of these sub-folders; True if there are none."""
    return not names or any(name == each or name.startswith(f"{each}/") for each in names)
