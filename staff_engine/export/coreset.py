"""Row ids → a coreset file, with a manifest and a file of the decision on every row."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.errors import PlanError, StaffError
from staff_engine.export.formats import DEFAULT_FORMAT, find_format
from staff_engine.export.manifest import describe, describe_file, write_manifest
from staff_engine.export.recipes.registry import RECIPES, find_recipe
from staff_engine.export.rows import Rows
from staff_engine.export.targets import (
    refuse_foreign_files,
    refuse_run_files,
    refuse_shared_files,
    source_files,
)
from staff_engine.samples.decisions import decide
from staff_engine.system.files import replaced

if TYPE_CHECKING:
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection

LONGEST_NAME = 255 - len(".4194304.part")
"""Bytes of a file name, with room for that of its temporary file."""

COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")

Manifest = dict[str, Any]


def export_coreset(
    results: Results,
    selection: Selection,
    settings: dict[str, Any],
    out: Path,
    *,
    format: str = DEFAULT_FORMAT,
    with_scores: bool = False,
    overwrite: bool = False,
    recipe: str | None = None,
) -> Manifest:
    """Write a coreset to a file, and next to it the decision on every row and the manifest.

    Rows keep the order of the source. All files are written under temporary names and
    renamed when all are complete, the manifest last.

    Parameters
    ----------
    results
        The run.
    selection
        The coreset, from `results.select(**changes)`.
    settings
        Its selection settings: `results.settings(**changes)`.
    out
        The file. `<out>.manifest.json` and `<stem>.decisions.parquet` are written next to it.
    format
        One of `formats.EXPORT_FORMATS`. An imported line loses its line ending (a line feed, a
        carriage return) and a byte order mark before the first line; nothing else changes.
        Layouts are written one record per line or, if `out` ends in .json, as an array; rows that
        were imported in this layout stay unchanged. Row numbers are int64 if `out` ends in .npy.
    with_scores
        Give each row a field `_staff`: row_id, speculative_score, verification_score (null
        if the target did not score it), stratum. It is inserted after the last field of a line,
        which is otherwise unchanged. In CSV, each value has its own column.
    overwrite
        Replace files that are not from an earlier export to the same path, too.
    recipe
        One of `recipes.registry.RECIPES`: also write a file that this tool trains with, next to `out`.

    Returns
    -------
    Manifest
        The content of the manifest.

    Raises
    ------
    PlanError
        If the format is unknown, or cannot include scores, or the recipe reads another format.
    ModelError
        If the target of a recipe cannot be found.
    StaffError
        If `out` cannot be written, would replace the data, a file of a run or somebody else's file,
        or a row does not fit the layout.
    """
    out = Path(out)
    check_export(out, format, with_scores=with_scores)
    chosen = find_format(format)
    companion = chosen.companion
    beside = [out.with_name(companion.name)] if companion else []
    _refuse_sources(results, [*written_to(out), *beside])
    tool = find_recipe(recipe, format) if recipe else None
    check_targets(out, overwrite=overwrite, recipe=recipe)
    instructions = tool.write(results, len(selection.indices), out.stem, out.name) if tool else ""
    _, decisions_path, manifest_path = written_to(out)

    decisions = decide(results, selection)
    facts = results.imported.facts
    rows = Rows(results.imported.folder, facts, selection.indices, decisions, with_scores)
    with ExitStack() as stack:  # exits in reverse order: the manifest is renamed last
        manifest_part = stack.enter_context(replaced(manifest_path))
        if companion:
            part = stack.enter_context(replaced(out.with_name(companion.name)))
            companion.write(part, companion.content(out, rows.carried_columns()))
        if tool:
            recipe_path = out.with_name(tool.file_name(out.stem))
            recipe_part = stack.enter_context(replaced(recipe_path))
            recipe_part.write_text(instructions, encoding="utf-8")
        decisions_part = stack.enter_context(replaced(decisions_path))
        part = stack.enter_context(replaced(out))
        count = chosen.writer_of(facts).write(rows, part, out.suffix)
        if count != len(rows.row_ids):
            raise StaffError(f"{rows.imported} is damaged: it has {count} of {len(rows.row_ids)} rows")
        decisions.write(decisions_part)
        manifest = describe(results, selection, settings)
        manifest["format"], manifest["with_scores"] = format, with_scores
        manifest["warnings"] += chosen.warnings(rows)
        manifest["files"] = [
            describe_file(part, out.name, count),
            describe_file(decisions_part, decisions_path.name, results.num_rows),
            *([describe_file(recipe_part, recipe_path.name, 0)] if tool else []),
        ]
        if not overwrite:
            refuse_shared_files(out, manifest["files"])
        write_manifest(manifest_part, manifest)
    return manifest


def check_export(out: Path, format: str, *, with_scores: bool = False) -> None:
    """Check before any work that an export can be written.

    Raises
    ------
    PlanError
        If the format is unknown, or cannot include scores.
    StaffError
        If `out` is a folder, its folder does not exist, or its suffix does not fit the format.
    """
    chosen = find_format(format)
    too_long = len(os.fsencode(written_to(out)[2].name)) - LONGEST_NAME
    if too_long > 0:
        raise StaffError(f"the file name {out.name[:20]}… is {too_long:,} bytes too long")
    if with_scores and not chosen.holds_scores:
        raise PlanError(f"{chosen.why_no_scores}; the decisions file has the scores")
    if out.is_dir():
        raise StaffError(f"{out} is a folder; give a file name")
    if not out.parent.is_dir():
        raise StaffError(f"the folder {out.parent} does not exist, so {out.name} cannot be written")
    if out.suffix in COMPRESSED and not out.name.endswith(chosen.suffix):
        raise StaffError(
            f"{out.name}: format {format} is not compressed; remove {out.suffix}, or use jsonl-zst"
        )
    if chosen.suffix.endswith(".zst") and out.suffix != ".zst":
        raise StaffError(f"{out.name}: the name of a file in the format {format} ends in .zst")
    if chosen.companion:
        chosen.companion.content(out, ())


def written_to(out: Path) -> tuple[Path, Path, Path]:
    """The files of an export: the rows, the decisions and the manifest."""
    return out, out.with_name(f"{out.stem}.decisions.parquet"), out.with_name(f"{out.name}.manifest.json")


def check_targets(out: Path, *, overwrite: bool, recipe: str | None = None) -> None:
    """Check before any work that an export replaces no file of a run, and none of somebody else's.

    `recipe` is as in `export_coreset`.

    Raises
    ------
    StaffError
        With the file; a file inside a run's folder is refused also with `overwrite`.
    """
    files = [*written_to(out), *([out.with_name(RECIPES[recipe].file_name(out.stem))] if recipe else [])]
    refuse_run_files(files)
    if not overwrite:
        refuse_foreign_files(files)


def _refuse_sources(results: Results, targets: list[Path]) -> None:
    """Raise StaffError if a target file is the data of the run, or the run's copy of it."""
    folder = results.imported.folder
    sources = [*source_files(results.plan), *folder.iterdir()]
    for target in filter(Path.exists, targets):
        if any(source.samefile(target) for source in sources):
            raise StaffError(f"{target} is the data that the coreset is selected from; choose another file")
