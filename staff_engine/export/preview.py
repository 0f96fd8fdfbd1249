"""What each export format is, and the first rows of a coreset as it will write them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from staff_engine.export.coreset import Rows, check_export, json_texts
from staff_engine.export.tabular import write_csv, write_parquet
from staff_engine.samples.decisions import decide

if TYPE_CHECKING:
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection

LOOKED_AT = 1_000
"""Rows from which the preview takes the columns of a table and the fields of Alpaca."""

WIDEST = 2_000
"""Characters of a line that are shown."""


@dataclass(frozen=True)
class Format:
    """An export format, for people."""

    label: str
    sentence: str


FORMATS = {
    "jsonl": Format("JSON lines", "The imported rows as they are, byte for byte, one a line."),
    "json": Format("JSON", "The imported rows as they are, byte for byte, in one JSON array."),
    "csv": Format(
        "CSV", "The fields of the imported rows as a table; lists and objects become JSON text in a cell."
    ),
    "parquet": Format("Parquet", "The fields of the imported rows as a compressed table with types."),
    "indices": Format(
        "Row numbers", "Only the places of the rows in the imported data, counted from 0, one a line."
    ),
    "alpaca": Format(
        "Alpaca", "instruction, input and output; system and history where the samples have them."
    ),
    "prompt-completion": Format(
        "Prompt and completion", "One prompt and one completion a line; samples of one question only."
    ),
    "messages": Format("Messages", "A list of messages with role and content, as chat templates take it."),
    "sharegpt": Format("ShareGPT", "A list of conversations with from and value."),
    "llama-factory": Format(
        "LLaMA-Factory", "Messages, with the entry for LLaMA-Factory's dataset_info.json beside the file."
    ),
}
"""Each of `export.EXPORT_FORMATS`: its name and a sentence."""


def preview_export(
    results: Results, selection: Selection, format: str = "jsonl", with_scores: bool = False, rows: int = 5
) -> str:
    """The beginning of the file that an export would write, as text.

    Long lines are cut, and say how much is left out. A Parquet file shows its columns and
    types, and its rows as JSON. Columns, and the fields that Alpaca has only where samples
    need them, are those of the first `LOOKED_AT` rows of the coreset.

    Raises
    ------
    PlanError
        If the format is unknown, or cannot hold scores.
    StaffError
        If one of these rows does not fit the format.
    """
    check_export(results.folder / "coreset.jsonl", format, with_scores=with_scores)
    row_ids = selection.indices[:LOOKED_AT]
    if format == "indices":
        return "".join(f"{row_id}\n" for row_id in row_ids[:rows])
    source = results.imported
    looked_at = Rows(source.folder, source.facts, row_ids, decide(results, selection), with_scores)
    if format == "csv":
        return _cut(_csv(looked_at, rows))
    if format == "parquet":
        return _cut(_parquet(looked_at, rows))
    texts = [text.decode("utf-8", "replace") for text in islice(json_texts(looked_at, format), rows)]
    if format == "json":
        closing = "\n]\n" if len(texts) == len(selection.indices) else ",\n"
        return _cut("[\n" + ",\n".join(texts) + closing)
    return _cut("".join(f"{text}\n" for text in texts))


def _csv(looked_at: Rows, rows: int) -> str:
    """The header of all rows, and the first rows under it."""
    objects = list(looked_at.objects(flat=True))
    columns = dict.fromkeys(name for row in objects for name in row)
    first = [{**columns, **row} for row in objects[:rows]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write_csv(path, lambda: first)
        return path.read_text(encoding="utf-8")


def _parquet(looked_at: Rows, rows: int) -> str:
    """Columns with types, and the first rows as JSON."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_parquet(path, looked_at.objects)
        with pq.ParquetFile(path) as file:
            types = "\n".join(f"# {field.name}: {field.type}" for field in file.schema_arrow)
            first = next(file.iter_batches(batch_size=rows)).to_pylist()
    return types + "\n" + "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in first)


def _cut(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(
        line if len(line) <= WIDEST else f"{line[:WIDEST]} … ({len(line) - WIDEST:,} more characters)"
        for line in lines
    )
