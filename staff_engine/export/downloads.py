"""A coreset prepared for download: its files in the run's folder, identified by a key, never by a path."""

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
from typing import TYPE_CHECKING, Any

import staff_engine
from staff_engine.errors import RunError, StaffError
from staff_engine.export.coreset import Manifest, check_export, export_coreset
from staff_engine.export.delivery import plan_delivery
from staff_engine.export.formats import DEFAULT_FORMAT, EXPORT_FORMATS, Companion, find_format
from staff_engine.export.hub.folder import export_folder
from staff_engine.export.rows import Rows
from staff_engine.plan import Plan
from staff_engine.program import COMMAND
from staff_engine.runs.folders import PLAN_FILE, Run
from staff_engine.runs.results import open_results
from staff_engine.samples.decisions import decide
from staff_engine.system.files import PRIVATE_FILE, new_folder
from staff_engine.system.home import home
from staff_engine.system.sharing import check_disk, refuse_paths
from staff_engine.system.words import size_in_words

if TYPE_CHECKING:
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection

FOLDER = "exports"
KEPT = 6
"""Prepared exports that a run keeps; the least recently used are deleted first."""

LOCK_SECONDS = 600
CHUNK = 2**20

NAME = re.compile(r"[a-z0-9-]{1,100}")
"""The allowed form of a run's id and of an export's key."""


@dataclass(frozen=True)
class Prepared:
    """A complete export in the run's folder."""

    run_id: str
    key: str
    folder: Path

    @property
    def format(self) -> str:
        """The format: the first part of the key."""
        return self.key.rpartition("-")[0]

    @property
    def files(self) -> dict[str, Path]:
        """The files for download: coreset, manifest, decisions and, if the format has a companion, entry."""
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
        """Whether all its files exist."""
        return all(path.is_file() for path in self.files.values())

    def manifest(self) -> Manifest:
        """The content of the manifest. Raises RunError if it cannot be read."""
        try:
            return json.loads(self.files["manifest"].read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"the prepared export {self.key} is damaged: {error}; prepare it again") from None


def size_words(path: Path) -> str:
    """A file's size in words."""
    return size_in_words(path.stat().st_size)


def entry_of(companion: Companion, name: str, results: Results, selection: Selection) -> str:
    """The entry of a companion file for an exported file with this name, as JSON."""
    imported = results.imported
    rows = Rows(imported.folder, imported.facts, selection.indices, decide(results, selection), False)
    return json.dumps(companion.example(name, rows.carried_columns()), indent=2)


def file_name(format: str) -> str:
    """The file name of a format."""
    return f"coreset{find_format(format).suffix}"


def prepare(
    run: Run, settings: Mapping[str, Any], format: str = DEFAULT_FORMAT, with_scores: bool = False
) -> Prepared:
    """Write a coreset to the run's folder, or return one that already exists there.

    Parameters
    ----------
    settings
        Selection settings that differ from the run's plan, or all of them.
    format, with_scores
        As in `export.export_coreset`.

    Raises
    ------
    PlanError
        If a setting or the format is not allowed, or the format cannot include scores.
    StaffError
        If the run has no scores, or the rows do not fit the format.
    """
    check_disk()
    folder = run.folder / FOLDER
    check_export(run.folder / file_name(format), format, with_scores=with_scores)
    version = _version(run)  # before the results are read, so that they are at least as new
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
            for path in prepared.folder.iterdir():
                path.chmod(PRIVATE_FILE)
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
    """Find a prepared export by run id and key.

    Raises
    ------
    RunError
        If the run or the export does not exist, or a name contains characters other than a-z, 0-9 and "-".
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
    """All files of an export as a zip archive, piece by piece, without a copy in memory or on disk.

    All files are opened before the first piece, so that the archive is complete even if the export is
    deleted meanwhile.
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
    recipe: str | None = None,
) -> Manifest:
    """Write a coreset, its decisions and manifest to a path on this machine.

    Raises
    ------
    StaffError
        If it cannot be written, would replace the data, or would replace another file
        without `replace`; or if a recipe cannot be written.
    """
    refuse_paths()
    results = open_results(run.folder)
    delivery = plan_delivery(out, format, with_scores, results.plan, overwrite=replace, recipe=recipe)
    if delivery.out.exists() and not replace:
        raise StaffError(f"{delivery.out} already exists; choose to replace it, or choose another file")
    chosen = results.settings(**settings)
    try:
        return export_coreset(
            results,
            results.select(**chosen),
            chosen,
            delivery.out,
            format=format,
            with_scores=with_scores,
            overwrite=replace,
            recipe=recipe,
        )
    except OSError as error:
        raise StaffError(f"{delivery.out} cannot be written: {error.strerror}") from error


def write_folder(
    run: Run,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    format: str = DEFAULT_FORMAT,
    with_scores: bool = False,
    replace: bool = False,
    recipe: str | None = None,
) -> Manifest:
    """Write a coreset as a folder that `load_dataset` and the hub read, to a path on this machine.

    Raises
    ------
    StaffError
        As `hub.folder.check_folder`; `replace` is its `overwrite`.
    """
    refuse_paths()
    results = open_results(run.folder)
    chosen = results.settings(**settings)
    selection = results.select(**chosen)
    how: dict[str, Any] = {
        "format": format,
        "with_scores": with_scores,
        "overwrite": replace,
        "recipe": recipe,
    }
    try:
        return export_folder(results, selection, chosen, folder.expanduser(), **how)
    except OSError as error:
        raise StaffError(f"{folder} cannot be written: {error.strerror}") from error


def suggest_file(format: str) -> Path:
    """A path for the file of a format, in the user's home folder."""
    return Path.home() / file_name(format)


def changed_settings(plan: Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ from the plan's."""
    return {name: value for name, value in settings.items() if value != getattr(plan, name)}


def export_command(
    run_id: str,
    changes: Mapping[str, Any],
    format: str,
    with_scores: bool,
    out: str | Path,
    *,
    as_folder: bool = False,
    recipe: str | None = None,
) -> str:
    """The command line that writes the same coreset.

    Parameters
    ----------
    changes
        Selection settings that differ from the run's plan, from `changed_settings`.
    as_folder
        Whether `out` is a folder, as `hub.folder.export_folder` writes it.
    recipe
        A tool for which a file is written too.
    """
    words = [run_id]
    words += [f"--{name.replace('_', '-')}={value}" for name, value in changes.items()]
    if format != DEFAULT_FORMAT:
        words.append(f"--{'export-format' if changes else 'format'}={format}")
    if with_scores:
        words.append("--with-scores")
    if recipe:
        words.append(f"--recipe={recipe}")
    words.append(f"--{'to' if as_folder else 'out'}={out}")
    return f"{COMMAND} {'select' if changes else 'export'} {shlex.join(words)}"


class _Pipe(io.RawIOBase):
    """A write-only file in memory whose content is taken out piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _version(run: Run) -> list[Any]:
    """A value that changes with a run's scores, its data or the program version."""
    patterns = ("dataset/facts.json", "speculative/part-*", "verification/part-*", "unscorable.parquet")
    paths = [path for pattern in patterns for path in sorted(run.folder.glob(pattern))]
    stats = [(path.name, path.stat()) for path in paths]
    return [staff_engine.__version__, *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)]


def _prune(folder: Path) -> None:
    """Remove all but the most recently used exports, and what a killed process left."""
    exports = [path for path in folder.iterdir() if path.is_dir()]
    exports.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    whole = [path for path in exports if path.suffix != ".part"]
    for path in exports:
        if path not in whole[:KEPT]:
            shutil.rmtree(path, ignore_errors=True)


def _alone(folder: Path) -> Any:
    """A lock, so that two browser tabs do not write the same export at once."""
    from filelock import FileLock

    folder.mkdir(exist_ok=True)
    return FileLock(folder / ".lock", timeout=LOCK_SECONDS)
