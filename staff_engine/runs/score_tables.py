"""Score tables of a run, as selection methods read them, and each method's coreset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, assert_never

import numpy as np

from staff_engine.data.builtin.variants import DUPLICATE, SWAPPED
from staff_engine.errors import PlanError, RunError
from staff_engine.program import COMMAND
from staff_engine.runs.cost import samples_for_selection
from staff_engine.runs.integrity.check import check_files
from staff_engine.runs.results import Results
from staff_engine.runs.verification.drawing import to_verify, verify_options
from staff_engine.scoring.parts import read_embeddings, read_parts
from staff_engine.scoring.trajectories import TRAJECTORY
from staff_engine.selection.methods import METHODS, OPTIONAL_COLUMNS, OWN, Method, ScoreTable, method_named
from staff_engine.system.arrow import by_row, to_numpy

HOW_TO_GET = {
    "effort": "",
    "el2n": "",
    "loss": "",
    "embedding": "",
    "trajectories": f" (to measure them: {COMMAND} trajectory {{run}} --checkpoints 10)",
    "ifd": f" (to compute it: {COMMAND} verify {{run}} --score ifd)",
}
"""How to get the columns that a run can lack; `{run}` is the run's id. Nobody can get those that are not
listed."""


def small_scores(results: Results) -> ScoreTable:
    """The fine-tuned small model's scores of a run."""
    check_files(results.folder, "speculative", "embedding", TRAJECTORY)
    return read_scores(
        results.folder,
        results.speculative,
        source="small" if results.plan.scores is None else "file",
        trajectories=results.trajectories,
        ifd=None if results.lacks("ifd") else results.scores_by("ifd"),
        clean=None if results.kinds is None else ~np.isin(results.kinds, [SWAPPED, DUPLICATE]),
    )


def read_scores(
    folder: Path,
    effort: np.ndarray,
    *,
    source: Literal["small", "target", "file"],
    trajectories: np.ndarray | None = None,
    ifd: np.ndarray | None = None,
    clean: np.ndarray | None = None,
) -> ScoreTable:
    """Read a model's scores from the parts in a folder's `speculative` and `embedding`.

    Its effort is given and, if they are known, its loss trajectories, its IFD and the clean rows.
    """
    table = read_parts(folder / "speculative", ["row_id", "el2n", "loss", "response_tokens"])
    ids = to_numpy(table["row_id"])
    scorable = np.isfinite(effort)
    return ScoreTable(
        effort=np.where(scorable, effort, np.nan),
        el2n=_placed(ids, to_numpy(table["el2n"]), scorable),
        loss=_placed(ids, to_numpy(table["loss"]), scorable),
        response_tokens=_placed(ids, to_numpy(table["response_tokens"]), scorable),
        embedding=np.where(scorable[:, None], read_embeddings(folder, len(scorable)), np.float16(0)),
        trajectories=np.zeros((len(scorable), 0)) if trajectories is None else trajectories,
        ifd=np.zeros(0) if ifd is None else ifd,
        clean=np.zeros(0, dtype=bool) if clean is None else clean,
        source=source,
    )


def check_measured(name: str, results: Results) -> None:
    """Check before any work that a run has measured what only some methods read, and only some runs measure.

    Raises
    ------
    PlanError
        If the method is unknown.
    RunError
        If the run has not; the message has the command that measures it.
    """
    method = method_named(name)
    if method.of_run:
        return  # its scores are named when it selects
    if "trajectories" in method.reads and not results.trajectories.shape[1]:
        raise RunError(_has_none(method, "trajectories", results))
    if "ifd" in method.reads and results.lacks("ifd"):
        raise RunError(_has_none(method, "ifd", results))


def how_to_get(results: Results, column: str) -> str:
    """How to get a column that a run lacks, in brackets after a space; empty if the run cannot have it."""
    if results.plan.scores is not None:  # a command needs the small model
        return ""
    return HOW_TO_GET.get(column, "").format(run=results.folder.name)


def _has_none(method: Method, column: str, results: Results) -> str:
    return (
        f"{method.label} reads {OPTIONAL_COLUMNS[column]}, and run {results.folder.name} has"
        f" none{how_to_get(results, column)}"
    )


def choose(
    name: str,
    results: Results,
    table: ScoreTable,
    *,
    pruning_rate: float,
    seed: int,
    beta: float | None = None,
    strata: int | None = None,
    settings: Mapping[str, Any] | None = None,
    own_draw: bool = False,
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
    strata : int, optional
        K of CCS, 1 to 10,000. Default: that of its paper.
    settings
        Other settings of the run's own selection, `plan.SELECTION_FIELDS`. Default: the plan's.
        STAFF's methods change some of them, see `Method.settings`.
    own_draw
        As in `Results.select`.

    Returns
    -------
    int64 (m,)
        Row ids, ascending; the same number for every method whose budget is a number of samples.

    Raises
    ------
    PlanError
        If the method is unknown, or a setting is not allowed.
    RunError
        If the method reads a column that the table does not have, or the time of a selection is unknown.
    """
    method = method_named(name)
    for column in method.lacks(table):
        without = [each for each in METHODS if not METHODS[each].lacks(table)]
        raise RunError(f"{_has_none(method, column, results)}; allowed: {', '.join(without)}")
    how: dict[str, Any] = {"pruning_rate": pruning_rate, "seed": seed}
    if method.choose is None:
        own = settings_of(name, {**(settings or {}), **how})
        return results.select(own_draw=own_draw, **own).indices
    if method.cuts:
        how["beta"] = results.plan.drop_hardest if beta is None else beta
    if method.stratifies and strata is not None:
        how["num_strata"] = strata
    own = {**(settings or {}), "pruning_rate": pruning_rate, "seed": seed}
    match method.budget:
        case "tokens":
            selected = results.select(own_draw=own_draw, **own).indices
            how["tokens"] = float(table.response_tokens[selected].sum())
        case "time":
            how["extra"] = samples_for_selection(results, **own)
        case "samples":
            pass
        case _:
            assert_never(method.budget)
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

    `settings` are those of the run's own selection. A method with the budget of its tokens depends on it.
    0 and "" for methods that do not verify.
    """
    method = method_named(name)
    if not method.of_run and method.budget != "tokens":
        return 0, ""
    settings = settings_of(name if method.of_run else OWN, settings)
    missing = len(to_verify(results, **settings))
    if not missing:
        return 0, ""
    return missing, f"{COMMAND} verify {results.folder.name}{verify_options(results, **settings)}"


def _placed(rows: np.ndarray, values: np.ndarray, scorable: np.ndarray) -> np.ndarray:
    column = by_row(len(scorable), rows, values)
    column[~scorable] = np.nan
    return column
