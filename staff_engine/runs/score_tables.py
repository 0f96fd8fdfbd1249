"""Score tables of a run, as selection methods read them, and each method's coreset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from staff_engine.errors import PlanError, RunError
from staff_engine.program import COMMAND
from staff_engine.runs.integrity.check import check_files
from staff_engine.runs.results import Results
from staff_engine.scoring.parts import read_embeddings, read_parts
from staff_engine.selection.methods import METHODS, ScoreTable, method_named, needs_embedding
from staff_engine.system.arrow import by_row, to_numpy


def small_scores(results: Results) -> ScoreTable:
    """The fine-tuned small model's scores of a run."""
    check_files(results.folder, "speculative", "embedding")
    return read_scores(results.folder, results.speculative, source="small")


def read_scores(folder: Path, effort: np.ndarray, *, source: Literal["small", "target"]) -> ScoreTable:
    """Read a model's scores from the parts in a folder's `speculative` and `embedding`, given its effort."""
    table = read_parts(folder / "speculative", ["row_id", "el2n", "loss"])
    ids = to_numpy(table["row_id"])
    scorable = np.isfinite(effort)
    return ScoreTable(
        effort=np.where(scorable, effort, np.nan),
        el2n=_placed(ids, to_numpy(table["el2n"]), scorable),
        loss=_placed(ids, to_numpy(table["loss"]), scorable),
        embedding=np.where(scorable[:, None], read_embeddings(folder, len(scorable)), np.float16(0)),
        source=source,
    )


def choose(
    name: str,
    results: Results,
    table: ScoreTable,
    *,
    pruning_rate: float,
    seed: int,
    beta: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Select a method's coreset of a run; no model is run.

    Parameters
    ----------
    name
        One of `METHODS`.
    results
        Results of the run. STAFF's methods read the target's scores from them.
    table
        The scores that the other methods read.
    pruning_rate : float
        Fraction of the scorable samples that is removed, 0 or more and below 1.
    seed : int
        0 to 2**63 - 1.
    beta : float, optional
        Fraction of the hardest samples that CCS and D2 drop, 0 or more and below 1. Default: the
        plan's `drop_hardest`. The papers of CCS and D2 search β on held-out data for each data set
        and rate, which a run cannot do; with this default they drop the same fraction as STAFF.
        STAFF's methods use their own settings. The other methods drop none.
    settings
        Other settings of the run's own selection, `plan.SELECTION_FIELDS`. Default: the plan's.
        STAFF's methods change some of them, see `Method.settings`.

    Returns
    -------
    int64 (m,)
        Row ids, ascending; the same number for every method.

    Raises
    ------
    PlanError
        If the method is unknown, or a setting is not allowed.
    RunError
        If the method reads embeddings and the table has none.
    """
    if needs_embedding(name) and not table.embedding.shape[1]:
        without = [each for each in METHODS if not needs_embedding(each)]
        raise RunError(
            f"{METHODS[name].label} reads embeddings, and run {results.folder.name} has none; allowed:"
            f" {', '.join(without)}"
        )
    method = method_named(name)
    how: dict[str, Any] = {"pruning_rate": pruning_rate, "seed": seed}
    if method.choose is None:
        return results.select(**settings_of(name, {**(settings or {}), **how})).indices
    if method.cuts:
        how["beta"] = results.plan.drop_hardest if beta is None else beta
    return method.choose(table, **how)


def settings_of(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The selection settings of one of STAFF's methods, given those of the run's own selection.

    Raises
    ------
    PlanError
        If the method is unknown, or not one of STAFF's.
    """
    method = method_named(name)
    if method.settings is None:
        allowed = [each for each in METHODS if METHODS[each].of_run]
        raise PlanError(f"method is {name!r}, which has no settings of STAFF; allowed: {', '.join(allowed)}")
    return {**settings, **method.settings}


def missing_of(name: str, results: Results, **settings: Any) -> tuple[int, str]:
    """How many samples the target must still verify for a method's coreset, and the command that does it.

    `settings` are those of the run's own selection. 0 and "" for methods that do not verify.
    """
    if not method_named(name).of_run:
        return 0, ""
    settings = settings_of(name, settings)
    missing = len(results.to_verify(**settings))
    if not missing:
        return 0, ""
    return missing, f"{COMMAND} verify {results.folder.name}{results.verify_options(**settings)}"


def _placed(rows: np.ndarray, values: np.ndarray, scorable: np.ndarray) -> np.ndarray:
    column = by_row(len(scorable), rows, values)
    column[~scorable] = np.nan
    return column
