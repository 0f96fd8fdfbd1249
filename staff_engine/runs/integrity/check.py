"""Compare the files of a run with their records: cheap if they are unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from staff_engine.data.dataset import open_imported
from staff_engine.errors import DatasetError, RunError
from staff_engine.program import COMMAND
from staff_engine.runs.folders import PLAN_FILE, SUMMARY_FILE, Run, read_record
from staff_engine.runs.integrity.records import (
    NAMES,
    RECORDS_FILE,
    FileRecord,
    in_passing_folder,
    lasting_files,
    load_records,
    record_of,
    sha256_of,
    update_records,
    within,
)
from staff_engine.runs.kinds import KINDS
from staff_engine.runs.saved_selections import FOLDER as SAVED_FOLDER
from staff_engine.runs.status import ACTIVE, STATUS_FILE, load_status
from staff_engine.runs.summary import load_summary
from staff_engine.system.files import read_checked
from staff_engine.system.home import home

ELSEWHERE = (PLAN_FILE, STATUS_FILE, RECORDS_FILE, *NAMES)
"""JSON files that are recorded, or read wherever a run is opened."""


@dataclass(frozen=True)
class Damage:
    """A file of a run that is not what was written.

    Attributes
    ----------
    name
        Its path relative to the run's folder.
    what
        What is wrong, as the end of a sentence: "is missing".
    """

    name: str
    what: str

    @property
    def sentence(self) -> str:
        """Name and fault."""
        return f"{self.name} {self.what}"


def check_files(folder: Path, *names: str) -> None:
    """Refuse damaged files of a run.

    Sizes are always compared, contents only if a file has changed since it was last hashed.

    Parameters
    ----------
    folder
        A run's folder.
    names
        Files and sub-folders, relative to it.

    Raises
    ------
    RunError
        With the file, and the command that makes it again.
    """
    damage = find_damage(folder, *names)
    if damage:
        raise RunError(damage_sentence(folder, damage))


def damage_sentence(folder: Path, damage: list[Damage]) -> str:
    """What is damaged, and the command that makes it again."""
    more = f" (and {len(damage) - 1:,} more)" if len(damage) > 1 else ""
    run = folder.name if folder.parent == home() / "runs" else folder
    found = f"run {folder.name} is damaged: {damage[0].sentence}{more}"
    return f"{found}; to make it again: {COMMAND} resume {run}"


def find_damage(folder: Path, *names: str, at_work: bool | None = None) -> list[Damage]:
    """The damaged files of a run.

    Files that have no record yet are recorded, unless a process works on the run.

    Parameters
    ----------
    names
        Files and sub-folders to check; all if there are none.
    at_work
        Whether another process can be writing files now. Default: by the state of the run.
    """
    records = load_records(folder)
    found: list[Damage] = []
    fresh: dict[str, FileRecord] = {}
    for name, record in records.items():
        if within(name, names):
            what = _compare(folder / name, record)
            if isinstance(what, str):
                found.append(Damage(name, what))
            elif what is not record:
                fresh[name] = what
    new = [name for name in lasting_files(folder, names) if name not in records]
    if at_work is None:
        at_work = bool(new) and _at_work(folder)
    if not at_work:
        for name in new:
            try:
                fresh[name] = _first_record(folder / name)
            except (OSError, RunError, DatasetError) as error:
                found.append(Damage(name, f"cannot be read: {error}"))
    update_records(folder, fresh)
    if not names:
        found += [*_damaged_json(folder), *missing_result(folder)]
    if not found and not at_work:
        found += _too_few(folder, {**records, **fresh}, names)
    return found


def _compare(path: Path, record: FileRecord) -> FileRecord | str:
    """The record, with a newer time if the file was touched; or what is wrong with the file."""
    try:
        stat = path.stat()
        if stat.st_size != record.bytes:
            return f"has {stat.st_size:,} bytes; {record.bytes:,} were written"
        if stat.st_mtime_ns == record.changed:
            return record
        if sha256_of(path) != record.sha256:
            return "differs from what was written (sha256)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return record.model_copy(update={"changed": stat.st_mtime_ns})


def _first_record(path: Path) -> FileRecord:
    """The record of a file that has none. An import says itself what its files contain."""
    record = record_of(path)
    if path.name in ("source.jsonl", "rows.arrow"):
        facts = open_imported(path.parent).facts
        if path.name == "source.jsonl" and record.sha256 != facts.source_sha256:
            raise DatasetError("it differs from what was imported (sha256)")
        if path.name == "rows.arrow" and record.rows != facts.rows:
            raise DatasetError(f"it has {record.rows:,} rows; {facts.rows:,} were imported")
    return record


def _at_work(folder: Path) -> bool:
    return load_status(folder).state in ACTIVE


def missing_result(folder: Path) -> list[Damage]:
    """The file with the results, if a finished run does not have it; else nothing."""
    try:
        results = KINDS[read_record(Run(folder.name, folder)).kind].results
    except RunError:
        return []
    finished = load_status(folder).state == "finished"
    missing = finished and not any((folder / name).exists() for name in results)
    return [Damage(results[0], "is missing")] if missing else []


def _damaged_json(folder: Path) -> list[Damage]:
    """JSON files that cannot be read."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        name = PurePosixPath(path.relative_to(folder))
        if path.name in ELSEWHERE or name.parts[0] == SAVED_FOLDER or in_passing_folder(name):
            continue
        try:
            load_summary(folder) if str(name) == SUMMARY_FILE else read_checked(path)
        except RunError as error:
            found.append(Damage(name.as_posix(), str(error).removeprefix(str(path)).strip()))
    return found


def _too_few(folder: Path, records: dict[str, FileRecord], names: tuple[str, ...]) -> list[Damage]:
    """Score folders with fewer rows than the summary counts: a part was removed before it was recorded."""
    if not (folder / SUMMARY_FILE).exists():
        return []
    try:
        summary = load_summary(folder)
    except RunError:
        return []  # `_damaged_json` reports it
    found = []
    for part, least in (("speculative", summary.samples), ("verification", summary.verified)):
        if not names or part in names:
            rows = sum(record.rows or 0 for name, record in records.items() if within(name, (part,)))
            if rows < least:
                found.append(Damage(part, f"has the scores of {rows:,} samples; the run had {least:,}"))
    return found
