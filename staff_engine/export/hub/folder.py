"""A coreset → a folder: the rows in `data/`, a dataset card, and the decisions and the manifest in `staff/`.

`load_dataset(folder)` gives exactly the rows of the coreset: the card names the data files, so that the
loader takes no other file for data.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.errors import PlanError, StaffError
from staff_engine.export.coreset import Manifest
from staff_engine.export.formats import DEFAULT_FORMAT, EXPORT_FORMATS, ExportFormat, find_format
from staff_engine.export.hub.card import write_card
from staff_engine.export.manifest import describe, describe_file, write_manifest
from staff_engine.export.recipes.registry import RECIPES, find_recipe
from staff_engine.export.rows import Rows
from staff_engine.export.targets import files_of_export, refuse_run_files, source_files
from staff_engine.plan import Plan
from staff_engine.samples.decisions import decide
from staff_engine.system.files import rename_flushed

if TYPE_CHECKING:
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection

DATA = "data"
OURS = "staff"
"""The folder with the decisions and the manifest."""

MANIFEST_FILE = f"{OURS}/manifest.json"
DECISIONS_FILE = f"{OURS}/decisions.parquet"
CARD_FILE = "README.md"

STEM = "train"
"""The beginning of the name of a file with rows, and of a recipe."""

LOADABLE = (".jsonl", ".jsonl.zst", ".json", ".csv", ".parquet")
"""Suffixes of the formats that `load_dataset` reads."""

SHARD = 500_000
"""Maximum rows of a Parquet file; more rows are written to several."""


def folder_formats() -> list[str]:
    """The names of the export formats that a folder can have."""
    return [name for name, format in EXPORT_FORMATS.items() if format.suffix in LOADABLE]


def check_folder(folder: Path, format: str, plan: Plan, *, with_scores: bool, overwrite: bool) -> None:
    """Check before any work that a coreset can be written to a folder.

    Raises
    ------
    PlanError
        If the format is unknown, cannot be loaded from a folder, or cannot include scores.
    StaffError
        If the folder is a file or inside a run's folder, if its parent does not exist, if it contains the
        data of the run, or, without `overwrite`, if it contains files that are not from an earlier export.
    """
    chosen = find_format(format)
    if chosen.suffix not in LOADABLE:
        raise PlanError(
            f"format {format!r} cannot be loaded from a folder; allowed: {', '.join(folder_formats())}"
        )
    if with_scores and not chosen.holds_scores:
        raise PlanError(f"{chosen.why_no_scores}; the decisions file has the scores")
    refuse_run_files([folder / CARD_FILE])
    if folder.is_file():
        raise StaffError(f"{folder} is a file; give a folder")
    if not folder.absolute().parent.is_dir():
        raise StaffError(
            f"the folder {folder.absolute().parent} does not exist, so {folder.name} cannot be made"
        )
    if any(folder.resolve() in source.resolve().parents for source in source_files(plan)):
        raise StaffError(
            f"{folder} contains the data that the coreset is selected from; choose another folder"
        )
    foreign = [] if overwrite else _foreign_files(folder)
    if foreign:
        raise StaffError(
            f"{folder} contains {foreign[0]}, which is not from an earlier export; choose another folder, "
            "or use --overwrite"
        )


def export_folder(
    results: Results,
    selection: Selection,
    settings: dict[str, Any],
    folder: Path,
    *,
    format: str = DEFAULT_FORMAT,
    with_scores: bool = False,
    overwrite: bool = False,
    recipe: str | None = None,
) -> Manifest:
    """Write a coreset as a folder that `load_dataset` reads.

    Everything is written to a new folder first. Files of an earlier export to the same folder are
    replaced; other files in it stay.

    Parameters
    ----------
    results, selection, settings, format, with_scores, overwrite, recipe
        As in `coreset.export_coreset`.
    folder
        The folder; its parent must exist.

    Returns
    -------
    Manifest
        The content of the manifest.

    Raises
    ------
    PlanError, ModelError, StaffError
        As `check_folder`; or if a row does not fit the format, or a recipe cannot be written.
    """
    folder = folder.absolute()
    tool = find_recipe(recipe, format) if recipe else None
    check_folder(folder, format, results.plan, with_scores=with_scores, overwrite=overwrite)
    chosen = find_format(format)
    decisions = decide(results, selection)
    facts = results.imported.facts
    rows = Rows(results.imported.folder, facts, selection.indices, decisions, with_scores)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
        part = Path(made)
        for name in (DATA, OURS):
            (part / name).mkdir()
        files = _write_data(chosen, rows, part)
        decisions.write(part / DECISIONS_FILE)
        manifest = _for_others(describe(results, selection, settings))
        manifest["format"], manifest["with_scores"] = format, with_scores
        manifest["warnings"] += chosen.warnings(rows)
        if tool:
            text = tool.write(results, len(rows.row_ids), STEM, next(iter(files)))
            (part / tool.file_name(STEM)).write_text(text, encoding="utf-8")
        write_card(part / CARD_FILE, manifest, list(files), decisions)
        manifest["files"] = [
            *(describe_file(part / name, name, count) for name, count in files.items()),
            describe_file(part / DECISIONS_FILE, DECISIONS_FILE, results.num_rows),
            describe_file(part / CARD_FILE, CARD_FILE, 0),
            *([describe_file(part / tool.file_name(STEM), tool.file_name(STEM), 0)] if tool else []),
        ]
        write_manifest(part / MANIFEST_FILE, manifest)
        _move(part, folder)
    return manifest


def _for_others(manifest: Manifest) -> Manifest:
    """The manifest without the folders of this machine: only the names of local data and models."""
    plan = manifest["plan"]
    for name in ("dataset", "small", "target", "scores"):
        plan[name] = plan[name] and _name_of(plan[name])
    manifest["data"]["source"] = _name_of(manifest["data"]["source"])
    return manifest


def _name_of(source: str) -> str:
    """The last part of a path on this machine; other sources unchanged."""
    path = Path(source).expanduser()
    return path.name if path.is_absolute() or path.exists() else source


def _write_data(format: ExportFormat, rows: Rows, part: Path) -> dict[str, int]:
    """Write the rows; the names of the files, with their numbers of rows."""
    name = f"{DATA}/{STEM}{format.suffix}"
    path = part / name
    count = format.writer_of(rows.facts).write(rows, path, format.suffix)
    if count != len(rows.row_ids):
        raise StaffError(f"{rows.imported} is damaged: it has {count} of {len(rows.row_ids)} rows")
    files = {name: count}
    if format.suffix == ".parquet":
        _check_types(path)
    if format.companion:
        companion = path.with_name(format.companion.name)
        format.companion.write(companion, format.companion.content(path, rows.carried_columns()))
        files[f"{DATA}/{companion.name}"] = 0
    return _in_shards(path) if format.suffix == ".parquet" and count > SHARD else files


def _check_types(path: Path) -> None:
    """Raise StaffError if `load_dataset` does not have the type of a column of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features

    for field in pq.read_schema(path):
        try:
            Features.from_arrow_schema(pa.schema([field]))
        except ValueError:
            raise StaffError(
                f"column {field.name!r} has the type {field.type}, which load_dataset does not read; "
                "use the format jsonl, or --out for a single Parquet file"
            ) from None


def _in_shards(path: Path) -> dict[str, int]:
    """Split a Parquet file into several with the same columns; their names and numbers of rows."""
    import pyarrow.parquet as pq

    files: dict[str, int] = {}
    with pq.ParquetFile(path) as whole:
        total = -(-whole.metadata.num_rows // SHARD)
        batches = whole.iter_batches(min(SHARD, 10_000))
        writer, name = None, ""
        for batch in batches:
            while batch.num_rows:
                if writer is None:
                    name = f"{DATA}/{STEM}-{len(files):05d}-of-{total:05d}.parquet"
                    files[name] = 0
                    writer = pq.ParquetWriter(
                        path.parent.parent / name, whole.schema_arrow, compression="zstd"
                    )
                taken = batch.slice(0, SHARD - files[name])
                writer.write_batch(taken)
                files[name] += taken.num_rows
                batch = batch.slice(taken.num_rows)
                if files[name] == SHARD:
                    writer.close()
                    writer = None
        if writer is not None:
            writer.close()
    path.unlink()
    return files


def _move(part: Path, folder: Path) -> None:
    """Put the files of a finished part in place, the manifest last; older files of ours are removed."""
    stale = files_of_export(folder / MANIFEST_FILE)
    new = [path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file()]
    for name in (DATA, OURS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in sorted(new, key=lambda each: each == MANIFEST_FILE):
        rename_flushed(part / name, folder / name)
    for name in stale - set(new) - {Path(MANIFEST_FILE).name}:
        (folder / name).unlink(missing_ok=True)


def _foreign_files(folder: Path) -> list[str]:
    """Files that an export to a folder would replace, or load with its own, and that are not ours."""
    own = files_of_export(folder / MANIFEST_FILE)
    own |= {MANIFEST_FILE} if own else set()
    ours = [CARD_FILE, *(recipe.file_name(STEM) for recipe in RECIPES.values())]
    inner = [*(folder / name for name in ours), *(folder / DATA).rglob("*"), *(folder / OURS).rglob("*")]
    names = [path.relative_to(folder).as_posix() for path in inner if path.is_file()]
    return [name for name in names if name not in own]
