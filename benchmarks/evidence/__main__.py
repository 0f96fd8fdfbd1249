"""Measure how coresets train: the experiment of grid.toml, cell by cell.

    python -m benchmarks.evidence

For each data set it does a run, and runs with other settings where the grid says so. It verifies what the
methods need, and fine-tunes the target on the coreset of each arm, under STAFF_HOME. It goes seed by seed
through all data sets, so that a stopped experiment has complete seeds. Finished cells are in
docs/measured/evidence.parquet, one row each, and are not computed again, also under a new STAFF_HOME.
`--data`, `--arm` and `--seeds` select a part, and `--grid` another experiment. `--quick` uses a few samples
and writes nothing. It asserts nothing.

docs/understand/evidence.md says what was fixed before the first cell.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.evidence.grid import GRID, Data, Grid, read_grid
from benchmarks.evidence.page import page
from benchmarks.evidence.results import REFERENCE
from benchmarks.evidence.scores import score_facts
from benchmarks.evidence.table import known_rows, rows_of, with_rows
from benchmarks.machine import facts
from benchmarks.named_runs import carry_out, finished, named, verified
from staff_engine.evaluation import planning
from staff_engine.evaluation.cells import read_cell, write_cell
from staff_engine.evaluation.report import Evaluation, open_evaluation
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.results import open_results
from staff_engine.selection.methods import OWN
from staff_engine.system.files import write_json


def main(
    data: Annotated[list[str] | None, typer.Option(help="Only these data sets.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only these methods, beside random.")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Only the first seeds. 0: only write the page.", min=0)
    ] = None,
    grid_file: Annotated[Path, typer.Option("--grid", help="The experiment.")] = GRID,
    quick: Annotated[bool, typer.Option(help="Use a few samples. Write nothing.")] = False,
) -> None:
    """Measure what is missing, and write the table and the page."""
    grid = read_grid(grid_file)
    if quick:
        with tempfile.TemporaryDirectory() as home:
            os.environ["STAFF_HOME"] = home
            small = _small(grid)
            measured = [measure(each, small, seeds=2) for each in small.data]
        rows = [row for each in measured for row in each.rows]
        scores = {name: facts for each in measured for name, facts in each.scores.items()}
        print(page({**_facts(small), "scores": scores}, with_rows(None, rows)))
        return
    part = _part(grid, data, arm)
    if grid.table.exists():
        write(grid, Measured([], {}))
    for count in range(1, (grid.seeds if seeds is None else seeds) + 1):
        for each in part.data:
            write(grid, measure(each, part, seeds=count))


@dataclass(frozen=True)
class Measured:
    """What is known of a data set."""

    rows: list[dict[str, Any]]
    """The rows of all finished cells, from `table.rows_of`."""
    scores: dict[str, dict[str, Any]]
    """`scores.score_facts` of each run, by data set and arm."""


def measure(data: Data, grid: Grid, *, seeds: int) -> Measured:
    """Compute the cells of a data set for the first seeds."""
    small, target = map(os.path.expandvars, (grid.small, grid.target))
    plan = Plan.make(
        dataset=_placed(data.source), limit=data.limit, small=small, target=target,
        pruning_rate=grid.pruning_rate, **grid.plan,
    )  # fmt: skip
    source = finished(f"{grid.page} {data.name}", plan)
    others = {
        each.arm: finished(f"{grid.page} {data.name}, {each.arm}", _varied(plan, each.plan))
        for each in grid.variants
        if data.name in each.data
    }
    for seed in range(seeds):
        for method in grid.methods_on(data):
            verified(source, method, pruning_rate=grid.pruning_rate, seed=seed)
        for run in others.values():
            verified(run, OWN, pruning_rate=grid.pruning_rate, seed=seed)
    cells = _evaluated(data, grid, source, others, seeds=seeds)
    runs = {data.name: source, **{f"{data.name}: {arm}": run for arm, run in others.items()}}
    return Measured(
        rows_of(data, cells, target=grid.target),
        {name: score_facts(open_results(run.folder)) for name, run in runs.items()},
    )


def _placed(source: str) -> str:
    """The whole path of a file in the current folder; other names as they are."""
    return str(Path(source).absolute()) if Path(source).is_file() else source


def _varied(plan: Plan, changes: dict[str, Any]) -> Plan:
    """The plan of a variant: preset Paper with changes, without what only other methods read."""
    return plan.but(preset="paper", ifd=False, checkpoints=0).but(**changes)


def _evaluated(
    data: Data, grid: Grid, source: control.Run, others: dict[str, control.Run], *, seeds: int
) -> Evaluation:
    """Finish the evaluation of a data set, with the cells of the table."""
    wanted: dict[str, Any] = {
        "methods": grid.methods_on(data), "pruning_rates": (grid.pruning_rate,), "seeds": seeds,
        "full_seeds": min(seeds, grid.full_seeds), "own_draw": True, **grid.evaluation,
        "also": {arm: str(run.folder) for arm, run in others.items()},
        "held_out": data.held_out and _placed(data.held_out),
    }  # fmt: skip
    name = f"{grid.page} {data.name}, evaluated"
    run = named(name)
    if run is None:
        run = planning.create(*planning.plan_evaluation(source, **wanted), name=name)
    elif (longer := planning.extended(run, **wanted)) != open_evaluation(run.folder).evaluation:
        planning.add_to(run, longer)
    put_back(grid, run, data)
    if control.read_status(run).state == "finished":
        control.start(run)
    carry_out(run)
    return open_evaluation(run.folder)


def put_back(grid: Grid, run: control.Run, data: Data) -> None:
    """Write the cells of the table for the run, which uses them if rows and settings are the same."""
    for cell in known_rows(grid.table, data):
        if read_cell(run.folder, cell.asked) is None:
            write_cell(run.folder, cell)


def write(grid: Grid, measured: Measured) -> None:
    """Add what was measured to the table and to the page."""
    table = with_rows(grid.table, measured.rows)
    before = json.loads(grid.facts.read_text(encoding="utf-8")) if grid.facts.exists() else {}
    content = {**_facts(grid), "scores": {**before.get("scores", {}), **measured.scores}}
    write_json(grid.facts, content)
    grid.facts.with_suffix(".md").write_text(page(content, table), encoding="utf-8")


def _part(grid: Grid, data: list[str] | None, arms: list[str] | None) -> Grid:
    """The chosen data sets and arms of a grid; None means all. Raises typer.BadParameter for unknown ones."""
    known = [each.name for each in grid.data], [*grid.methods, *(each.arm for each in grid.variants)]
    for chosen, names in zip((data, arms), known, strict=True):
        for name in chosen or ():
            if name not in names:
                raise typer.BadParameter(f"{name!r}; allowed: {', '.join(names)}")
    wanted = known[1] if arms is None else [REFERENCE, *arms]
    return grid.model_copy(
        update={
            "data": tuple(each for each in grid.data if data is None or each.name in data),
            "methods": tuple(name for name in grid.methods if name in wanted),
            "variants": tuple(each for each in grid.variants if each.arm in wanted),
        }
    )


def _facts(grid: Grid) -> dict[str, Any]:
    other = "" if grid.page == read_grid().page else f" --grid benchmarks/evidence/{grid.file}"
    return {**facts(f"python -m benchmarks.evidence{other}"), "grid": grid.model_dump(mode="json")}


def _small(grid: Grid) -> Grid:
    """The experiment with a few samples of one data set."""
    chosen = tuple(each.model_copy(update={"limit": 60}) for each in grid.data if each.name == "chat")
    return grid.model_copy(
        update={
            "data": chosen, "methods": grid.methods[:3], "variants": (), "seeds": 2, "full_seeds": 1,
            "pruning_rate": 0.5,
            "plan": {**grid.plan, "epochs": 1, "strata": 4, "verify_per_stratum": 2, "checkpoints": 0},
            "evaluation": {**grid.evaluation, "held_out_samples": 10},
        }
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
