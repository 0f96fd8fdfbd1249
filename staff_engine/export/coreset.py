"""Row ids → a file of the coreset, with the decision on every row and a manifest beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from staff_engine.data.rows import selected_lines, selected_turns
from staff_engine.errors import PlanError, StaffError
from staff_engine.export import llama_factory
from staff_engine.export.layouts import LAYOUTS, OPTIONAL, Record, fill
from staff_engine.export.lines import STAFF, with_staff, write_lines
from staff_engine.export.manifest import describe, describe_file, write_manifest
from staff_engine.export.tabular import Row, write_csv, write_parquet
from staff_engine.samples.decisions import Decisions, decide
from staff_engine.system.files import replaced

if TYPE_CHECKING:
    from staff_engine.data.dataset import Facts
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection

EXPORT_FORMATS = (
    "jsonl", "json", "csv", "parquet", "indices",
    "alpaca", "prompt-completion", "messages", "sharegpt", "llama-factory",
)  # fmt: skip

COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")

TOOL_CALLS = re.compile(rb'"(tool_calls|function_call|tools)"\s*:\s*["\[{]')
"""Fields of a row that normalised turns leave out."""

Manifest = dict[str, Any]


def export_coreset(
    results: Results,
    selection: Selection,
    settings: dict[str, Any],
    out: Path,
    *,
    format: str = "jsonl",
    with_scores: bool = False,
) -> Manifest:
    """Write a coreset to a file, the decision on every row and the manifest beside it.

    Rows come in the order of the source. All files are written beside their places and
    renamed when every one is whole; the manifest comes last.

    Parameters
    ----------
    results
        The run.
    selection
        The coreset, as `results.select(**changes)` gave it.
    settings
        The selection settings that gave it: `results.settings(**changes)`.
    out
        The file. `<out>.manifest.json` and `<stem>.decisions.parquet` go beside it.
    format
        `jsonl`: the imported lines, byte for byte, each ended by a line feed (a byte order
        mark or a carriage return before the line feed is no part of a row). `json`: the
        same bytes in an array. `csv`, `parquet`: the fields of the imported rows, see
        `tabular`. `indices`: row ids, one a line, or int64 if `out` ends in .npy.
        `alpaca`, `prompt-completion`, `messages`, `sharegpt`: the turns in this layout,
        see `layouts`, one record a line or, if `out` ends in .json, in an array; rows that
        were imported in this layout stay as they are. `llama-factory`: the turns as
        messages, with their entry in the dataset_info.json beside.
    with_scores
        Give each row a field `_staff`: row_id, speculative_score, verification_score (null
        where the target did not score it), stratum. A line has it inserted behind its last
        field and is the same otherwise; in CSV it is one column each.

    Returns
    -------
    Manifest
        The manifest's content.

    Raises
    ------
    PlanError
        If the format is unknown, or cannot hold scores.
    StaffError
        If `out` cannot be written or would replace the data, or a row does not fit the layout.
    """
    out = Path(out)
    check_export(out, format, with_scores=with_scores)
    decisions_path = out.with_name(f"{out.stem}.decisions.parquet")
    manifest_path = out.with_name(f"{out.name}.manifest.json")
    info_path = llama_factory.info_path(out)
    info = llama_factory.with_entry(out) if format == "llama-factory" else None
    targets = [out, decisions_path, manifest_path, *([info_path] if info else [])]
    _refuse_sources(results, targets)

    decisions = decide(results, selection)
    rows = Rows(results.imported.folder, results.imported.facts, selection.indices, decisions, with_scores)
    with ExitStack() as stack:  # leaves in reverse: the manifest is renamed last
        manifest_part = stack.enter_context(replaced(manifest_path))
        info_part = stack.enter_context(replaced(info_path)) if info else None
        decisions_part = stack.enter_context(replaced(decisions_path))
        part = stack.enter_context(replaced(out))
        count = _write(rows, format, out, part)
        if count != len(rows.row_ids):
            raise StaffError(f"{rows.imported} is damaged: {count} of {len(rows.row_ids)} rows are there")
        decisions.write(decisions_part)
        if info_part and info:
            llama_factory.write_info(info_part, info)
        manifest = describe(results, selection, settings)
        manifest["format"], manifest["with_scores"] = format, with_scores
        manifest["warnings"] += _warnings(rows, format)
        manifest["files"] = [
            describe_file(part, out.name, count),
            describe_file(decisions_part, decisions_path.name, results.num_rows),
        ]
        write_manifest(manifest_part, manifest)
    return manifest


def check_export(out: Path, format: str, *, with_scores: bool = False) -> None:
    """Say before any work whether an export can be written.

    Raises
    ------
    PlanError
        If the format is unknown, or cannot hold scores.
    StaffError
        If `out` is a folder, lies in none, or has a suffix that promises something else.
    """
    if format not in EXPORT_FORMATS:
        raise PlanError(f"export format is {format!r}; it can be {', '.join(EXPORT_FORMATS)}")
    if format == "indices" and with_scores:
        raise PlanError("indices hold row ids only, no scores; the decisions beside them have the scores")
    if out.is_dir():
        raise StaffError(f"{out} is a folder; give the name of a file")
    if not out.parent.is_dir():
        raise StaffError(f"the folder {out.parent} does not exist, so {out.name} cannot be written")
    if out.suffix in COMPRESSED:
        raise StaffError(f"{out.name}: exports are not compressed; leave {out.suffix} out")
    if format == "llama-factory":
        llama_factory.with_entry(out)


def _refuse_sources(results: Results, targets: list[Path]) -> None:
    """Raise StaffError if a file to be written is the data that the run was made from, or the run's copy."""
    folder = results.imported.folder
    sources = [Path(results.imported.facts.source).expanduser(), *folder.iterdir()]
    for target in filter(Path.exists, targets):
        if any(source.exists() and source.samefile(target) for source in sources):
            raise StaffError(f"{target} is the data that the coreset is selected from; give another name")


@dataclass(frozen=True)
class Rows:
    """The rows of an export; each method starts a pass over them."""

    imported: Path
    facts: Facts
    row_ids: np.ndarray
    decisions: Decisions
    with_scores: bool

    def lines(self) -> Iterator[bytes]:
        """The imported lines, with `_staff` inserted if scores are asked for."""
        for row_id, line in selected_lines(self.imported, self.row_ids):
            if self.with_scores:
                line = _of_row(row_id, with_staff, line, self.decisions.staff(row_id))
            yield line

    def objects(self, *, flat: bool = False) -> Iterator[Row]:
        """The imported rows read as JSON; flat: the fields of `_staff` as fields of the row."""
        for line in self.lines():
            row = json.loads(line)
            if flat and self.with_scores:
                row |= {f"{STAFF}.{name}": value for name, value in row.pop(STAFF).items()}
            yield row

    def records(self, layout: str) -> Iterator[tuple[int, Record]]:
        """The row ids, and the turns laid out."""
        for row_id, turns in selected_turns(self.imported, self.row_ids):
            yield row_id, _of_row(row_id, LAYOUTS[layout], turns)


def _of_row(row_id: int, step: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return step(*arguments)
    except StaffError as error:
        raise StaffError(f"row {row_id}: {error}") from None


def _write(rows: Rows, format: str, out: Path, part: Path) -> int:
    """Write the data file; return the rows in it."""
    if format == "csv":
        return write_csv(part, lambda: rows.objects(flat=True))
    if format == "parquet":
        return write_parquet(part, rows.objects)
    with part.open("wb") as file:
        if format == "indices":
            return _write_indices(file, rows.row_ids, binary=out.suffix == ".npy")
        array = format == "json" or (format in LAYOUTS and out.suffix == ".json")
        return write_lines(file, json_texts(rows, format), array=array)


def json_texts(rows: Rows, format: str) -> Iterator[bytes]:
    """The rows as JSON texts in a format that has one for each: the imported lines, or the turns laid out."""
    return rows.lines() if _keeps_lines(rows.facts, format) else _record_lines(rows, format)


def _write_indices(file: BinaryIO, row_ids: np.ndarray, *, binary: bool) -> int:
    if binary:
        np.save(file, row_ids.astype(np.int64))
    else:
        np.savetxt(file, row_ids, fmt="%d")
    return len(row_ids)


def _keeps_lines(facts: Facts, format: str) -> bool:
    """Whether the imported lines are what the format asks for."""
    if format == "prompt-completion":
        return (facts.format, facts.prompt_column, facts.response_column) == (format, "prompt", "completion")
    return format in ("jsonl", "json") or (format == facts.format and format in LAYOUTS)


def _record_lines(rows: Rows, layout: str) -> Iterator[bytes]:
    """The records as JSON; those of Alpaca in a second pass, when it is known which fields the file needs."""
    records = rows.records(layout) if layout == "alpaca" else ()
    optional = {name for _, record in records for name in record if name in OPTIONAL}
    for row_id, record in rows.records(layout):
        staff = {STAFF: rows.decisions.staff(row_id)} if rows.with_scores else {}
        yield json.dumps(fill(record, optional) | staff, ensure_ascii=False).encode("utf-8")


def _warnings(rows: Rows, format: str) -> list[str]:
    """What a layout does not carry over, and what its reader will not take."""
    warnings = []
    if format in LAYOUTS and not _keeps_lines(rows.facts, format):
        lines = selected_lines(rows.imported, rows.row_ids)
        calling = [row_id for row_id, line in lines if TOOL_CALLS.search(line)]
        if calling:
            warnings.append(f"{format} does not carry the tool calls of {_some(calling)}; jsonl does")
    if format == "llama-factory":
        samples = selected_turns(rows.imported, rows.row_ids)
        skipped = [row_id for row_id, turns in samples if llama_factory.skips(turns)]
        if skipped:
            warnings.append(f"LLaMA-Factory will skip {_some(skipped)}, whose turns do not alternate")
    return warnings


def _some(row_ids: list[int]) -> str:
    first = ", ".join(map(str, row_ids[:5])) + (", …" if len(row_ids) > 5 else "")
    return f"{len(row_ids)} rows ({first})"
