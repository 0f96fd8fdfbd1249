"""The results of the experiment as a table: one Parquet file, one row a cell."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from benchmarks.evidence.grid import Data
from staff_engine.data.builtin.variants import DUPLICATE, RARE, SWAPPED
from staff_engine.evaluation.cells import Cell
from staff_engine.evaluation.report import Evaluation
from staff_engine.system.files import replaced

KEY = ["data", "arm", "seed", "budget"]


def rows_of(data: Data, evaluation: Evaluation, *, target: str) -> list[dict[str, Any]]:
    """One row for each finished cell of an evaluation.

    Parameters
    ----------
    target
        The target as the grid names it: the table has no paths of this machine.

    Returns
    -------
    list of dict
        data, task, faulty; the fields of the cell, with settings and seconds as JSON; token_loss, the mean
        held-out loss over tokens, in nats; swapped, duplicate and rare, the shares of such rows in the
        coreset (NaN where the data does not say it).
    """
    facts = evaluation.facts
    assert facts is not None
    return [
        {
            "data": data.name, "task": data.task, "faulty": data.faulty,
            **cell.model_dump(exclude={"metric", "answers", "scores", "beta"}),
            "budget": cell.budget or "epochs",
            "scores": cell.scores, "beta": cell.beta,
            "seconds": json.dumps(cell.seconds),
            "made_with": json.dumps({**cell.made_with, "target": target}, sort_keys=True),
            "token_loss": facts.token_mean(cell.losses),
            **{kind: shares.get(kind, float("nan")) for kind in (SWAPPED, DUPLICATE, RARE)},
            "selection_seconds": facts.selection_seconds.get(cell.scores or cell.arm),
        }
        for cell in evaluation.cells
        for shares in [facts.kinds.get(cell.asked.key, {})]
    ]  # fmt: skip


def with_rows(path: Path | None, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The table with new rows in place of older ones of the same cells; written if there is a path."""
    if path is None:
        return pd.DataFrame(rows)
    with FileLock(f"{path}.lock"):
        frames = [pd.read_parquet(path)] if path.exists() else []
        table = pd.concat([*frames, pd.DataFrame(rows)], ignore_index=True)
        table = table.drop_duplicates(KEY, keep="last").sort_values(KEY, ignore_index=True)
        with replaced(path) as part:
            table.to_parquet(part, compression="zstd", index=False)
    return table


def known_rows(path: Path, data: Data) -> list[Cell]:
    """The cells of a data set in the table."""
    if not path.exists():
        return []
    table = pd.read_parquet(path)
    return [_cell(row) for row in table[table["data"] == data.name].to_dict("records")]


def _cell(row: dict[str, Any]) -> Cell:
    known = {name: row[name] for name in Cell.model_fields if name in row}
    for name in ("pruning_rate", "scores", "budget", "beta"):
        if pd.isna(known[name]) or (name == "budget" and pd.isna(row["pruning_rate"])):
            known[name] = None
    made_with = json.loads(row["made_with"])
    return Cell(
        **{
            **known,
            "metric": None, "answers": (), "losses": tuple(row["losses"]),
            "seconds": json.loads(row["seconds"]),
            "made_with": {**made_with, "target": os.path.expandvars(made_with["target"])},
        }
    )  # fmt: skip
