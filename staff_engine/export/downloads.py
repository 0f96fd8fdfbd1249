"""A coreset made ready for download: its files in the run's folder, known by a key, never by a path."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import staff_engine
from staff_engine.data.sources import size_in_words
from staff_engine.errors import RunError, StaffError
from staff_engine.export.coreset import Manifest, check_export, export_coreset
from staff_engine.export.delivery import plan_delivery
from staff_engine.export.formats import DEFAULT_FORMAT, EXPORT_FORMATS, Companion, find_format
from staff_engine.plan import Plan
from staff_engine.program import COMMAND
from staff_engine.runs.folders import PLAN_FILE, Run
from staff_engine.runs.results import open_results
from staff_engine.system.files import new_folder
from staff_engine.system.home import home

FOLDER = "exports"
KEPT = 6
"""Prepared exports that a run keeps; those not used for longest go first."""

LOCK_SECONDS = 600
CHUNK = 2**20

NAME = re.compile(r"[a-z0-9-]{1,100}")
"""What a run's id and an export's key are made of."""


@dataclass(frozen=True)
class Prepared:
    """A coreset that lies whole in the run's folder."""

    run_id: str
    key: str
    folder: Path

    @property
    def format(self) -> str:
        """The format, which the key begins with."""
        return self.key.rpartition("-")[0]

    @property
    def files(self) -> dict[str, Path]:
        """What can be downloaded: coreset, manifest, decisions and, if the format has a companion, entry."""
        data = self.folder / file_name(self.format)
        files = {
            "coreset": data,
            "manifest": self.folder / f"{data.name}.manifest.json",
            "decisions": self.folder / f"{data.stem}.decisions.parquet",
        }
        companion = find_format(self.format).companion
        if companion:
            files["entry"] = self.folder / companion.name
        return files

    @property
    def whole(self) -> bool:
        """Whether all its files are there."""
        return all(path.is_file() for path in self.files.values())

    def manifest(self) -> Manifest:
        """What the manifest says. Raises RunError if it is gone."""
        try:
            return json.loads(self.files["manifest"].read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"the prepared export {self.key} is damaged: {error}; prepare it again") from None


def size_words(path: Path) -> str:
    """A file's size, for people."""
    return size_in_words(path.stat().st_size)


def entry_of(companion: Companion, name: str) -> str:
    """What a companion file contains about an exported file of this name, as JSON."""
    return json.dumps(companion.example(name), indent=2)


def file_name(format: str) -> str:
    """What the file of a format is called."""
    return f"coreset{find_format(format).suffix}"


def prepare(
    run: Run, settings: Mapping[str, Any], format: str = DEFAULT_FORMAT, with_scores: bool = False
) -> Prepared:
    """Write a coreset into the run's folder, or find it there from before.

    Parameters
    ----------
    settings
        Selection settings that differ from the run's plan, or all of them.
    format, with_scores
        As `export.export_coreset` has them.

    Raises
    ------
    PlanError
        If a setting or the format is not allowed, or the format cannot hold scores.
    StaffError
        If the run has no scores, or the rows do not fit the format.
    """
    folder = run.folder / FOLDER
    check_export(run.folder / file_name(format), format, with_scores=with_scores)
    version = _version(run)  # before the results are read: they are then at least as new
    results = open_results(run.folder)
    chosen = results.settings(**settings)
    content = json.dumps([version, chosen, with_scores], sort_keys=True)
    key = f"{format}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    prepared = Prepared(run.id, key, folder / key)
    try:
        with _alone(folder):
            if not prepared.whole:
                shutil.rmtree(prepared.folder, ignore_errors=True)
                with new_folder(prepared.folder) as part:
                    export_coreset(
                        results,
                        results.select(**chosen),
                        chosen,
                        part / file_name(format),
                        format=format,
                        with_scores=with_scores,
                    )
            os.utime(prepared.folder)
            _prune(folder)
    except TimeoutError:
        raise RunError(
            f"another export of run {run.id} is still running after {LOCK_SECONDS} s; try again"
        ) from None
    except OSError as error:
        raise StaffError(f"the export cannot be prepared in {folder}: {error.strerror}") from error
    return prepared


def find_prepared(run_id: str, key: str) -> Prepared:
    """Find what `prepare` made, by names alone.

    Raises
    ------
    RunError
        If there is no such run or export, or a name has another character than a-z, 0-9 and "-".
    """
    for what, name in (("run", run_id), ("export", key)):
        if not NAME.fullmatch(name):
            raise RunError(f"invalid {what} name {name!r}; allowed: a-z, 0-9 and -")
    folder = home() / "runs" / run_id
    prepared = Prepared(run_id, key, folder / FOLDER / key)
    if not (folder / PLAN_FILE).is_file():
        raise RunError(f"run {run_id!r} does not exist")
    if prepared.format not in EXPORT_FORMATS or not prepared.whole:
        raise RunError(f"export {key!r} no longer exists; prepare it again on the Export page")
    return prepared


def zipped(prepared: Prepared) -> Iterator[bytes]:
    """All files of an export as a zip archive, piece by piece: nothing is held or written.

    All are opened before the first piece, so that an export which is pruned meanwhile comes whole.
    """
    pipe = _Pipe()
    sources = [(path.name, path.open("rb")) for path in prepared.files.values()]
    try:
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, source in sources:
                facts = os.fstat(source.fileno())
                entry = zipfile.ZipInfo(name, datetime.fromtimestamp(facts.st_mtime, UTC).timetuple()[:6])
                entry.compress_type = (
                    zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED
                )
                entry.file_size = facts.st_size
                entry.external_attr = 0o644 << 16
                with archive.open(entry, "w") as out:
                    while piece := source.read(CHUNK):
                        out.write(piece)
                        yield pipe.taken()
        yield pipe.taken()
    finally:
        for _, source in sources:
            source.close()


def write_out(
    run: Run,
    settings: Mapping[str, Any],
    out: Path,
    *,
    format: str = DEFAULT_FORMAT,
    with_scores: bool = False,
    replace: bool = False,
) -> Manifest:
    """Write a coreset, its decisions and manifest to a place on this machine.

    Raises
    ------
    StaffError
        If it cannot be written there, would replace the data, or would replace another file
        without `replace`.
    """
    results = open_results(run.folder)
    delivery = plan_delivery(out, format, with_scores, results.plan)
    if delivery.out.exists() and not replace:
        raise StaffError(f"{delivery.out} already exists; choose to replace it, or choose another file")
    chosen = results.settings(**settings)
    try:
        return export_coreset(
            results, results.select(**chosen), chosen, delivery.out, format=format, with_scores=with_scores
        )
    except OSError as error:
        raise StaffError(f"{delivery.out} cannot be written: {error.strerror}") from error


def suggest_file(format: str) -> Path:
    """A place for the file of a format: in the user's own folder."""
    return Path.home() / file_name(format)


def changed_settings(plan: Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that differ from the plan's."""
    return {name: value for name, value in settings.items() if value != getattr(plan, name)}


def export_command(
    run_id: str, changes: Mapping[str, Any], format: str, with_scores: bool, out: str | Path
) -> str:
    """The command line that writes the same coreset.

    Parameters
    ----------
    changes
        Selection settings that differ from the run's plan, as `changed_settings` gives them.
    """
    words = [run_id]
    words += [f"--{name.replace('_', '-')}={value}" for name, value in changes.items()]
    if format != DEFAULT_FORMAT:
        words.append(f"--{'export-format' if changes else 'format'}={format}")
    if with_scores:
        words.append("--with-scores")
    words.append(f"--out={out}")
    return f"{COMMAND} {'select' if changes else 'export'} {shlex.join(words)}"


class _Pipe(io.RawIOBase):
    """Takes what is written, and gives it away: a file that cannot be wound back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        """What was written since it was last taken."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _version(run: Run) -> list[Any]:
    """What changes when a run's scores or data do, or the program that writes them."""
    patterns = ("dataset/facts.json", "speculative/part-*", "verification/part-*", "unscorable.parquet")
    paths = [path for pattern in patterns for path in sorted(run.folder.glob(pattern))]
    stats = [(path.name, path.stat()) for path in paths]
    return [staff_engine.__version__, *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)]


def _prune(folder: Path) -> None:
    """Remove all but the exports used last, and what a killed process left."""
    found = [path for path in folder.iterdir() if path.is_dir()]
    found.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    whole = [path for path in found if path.suffix != ".part"]
    for path in found:
        if path not in whole[:KEPT]:
            shutil.rmtree(path, ignore_errors=True)


def _alone(folder: Path) -> Any:
    """A lock: two browser tabs do not write the same export at once."""
    from filelock import FileLock

    folder.mkdir(exist_ok=True)
    return FileLock(folder / ".lock", timeout=LOCK_SECONDS)
