"""Measure how coresets train: the experiment of grid.toml, cell by cell.

    python -m benchmarks.evidence

For each data set it does a run, verifies what the methods need, and fine-tunes the target on the coreset of
each arm, under STAFF_HOME. It goes seed by seed through all data sets, so that a stopped experiment has
complete seeds. Finished cells are in docs/measured/evidence.parquet, one row each, and are not computed
again, also under a new STAFF_HOME. `--data`, `--arm` and `--seeds` select a part. `--quick` uses a few
samples and writes nothing. It asserts nothing.

docs/understand/evidence.md says what was fixed before the first cell.
"""

from __future__ import annotations

import os
import tempfile
from typing import Annotated, Any

import typer

from benchmarks.evidence.grid import Data, Grid, read_grid
from benchmarks.evidence.page import page
from benchmarks.evidence.table import FILE, known_rows, rows_of, with_rows
from benchmarks.machine import facts
from benchmarks.named_runs import carry_out, finished, named, verified
from staff_engine.evaluation import planning
from staff_engine.evaluation.cells import read_cell, write_cell
from staff_engine.evaluation.report import open_evaluation
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.system.files import write_json

FACTS_FILE = FILE.with_suffix(".json")


def main(
    data: Annotated[list[str] | None, typer.Option(help="Only these data sets.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only these methods, beside random.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Only the first seeds.")] = None,
    quick: Annotated[bool, typer.Option(help="Use a few samples. Write nothing.")] = False,
) -> None:
    """Measure what is missing, and write the table and the page."""
    grid = read_grid()
    if quick:
        with tempfile.TemporaryDirectory() as home:
            os.environ["STAFF_HOME"] = home
            small = _small(grid)
            rows = [row for each in small.data for row in measure(each, small, seeds=2)]
        print(page(_facts(small), with_rows(None, rows)))
        return
    chosen = [each for each in grid.data if data is None or each.name in data]
    methods = tuple(name for name in grid.methods if arm is None or name in ("random", *arm))
    for count in range(1, (seeds or grid.seeds) + 1):
        for each in chosen:
            write(grid, measure(each, grid, seeds=count, methods=methods))


def measure(
    data: Data, grid: Grid, *, seeds: int, methods: tuple[str, ...] | None = None
) -> list[dict[str, Any]]:
    """Compute the cells of a data set for the first seeds; return the rows of all finished cells."""
    methods = grid.methods if methods is None else methods
    family = grid.family
    plan = Plan.make(
        dataset=data.source, limit=data.limit, small=f"builtin:{family}-nano",
        target=f"builtin:{family}-mini", pruning_rate=grid.pruning_rate, **grid.plan,
    )  # fmt: skip
    source = finished(f"evidence {data.name}", plan)
    for seed in range(seeds):
        for method in methods:
            verified(source, method, pruning_rate=grid.pruning_rate, seed=seed)
    wanted: dict[str, Any] = {
        "methods": methods, "pruning_rates": (grid.pruning_rate,), "seeds": seeds,
        "full_seeds": min(seeds, grid.full_seeds), "own_draw": True, **grid.evaluation,
    }  # fmt: skip
    name = f"evidence {data.name}, evaluated"
    run = named(name)
    if run is None:
        run = planning.create(*planning.plan_evaluation(source, **wanted), name=name)
    elif (longer := planning.extended(run, **wanted)) != open_evaluation(run.folder).evaluation:
        planning.add_to(run, longer)
    put_back(run, data)
    if control.read_status(run).state == "finished":
        control.start(run)
    carry_out(run)
    return rows_of(data, open_evaluation(run.folder))


def put_back(run: control.Run, data: Data) -> None:
    """Write the cells of the table for the run, which uses them if rows and settings are the same."""
    for cell in known_rows(data):
        if read_cell(run.folder, cell.asked) is None:
            write_cell(run.folder, cell)


def write(grid: Grid, rows: list[dict[str, Any]]) -> None:
    """Add rows to the table and write the page."""
    table = with_rows(FILE, rows)
    content = _facts(grid)
    write_json(FACTS_FILE, content)
    FACTS_FILE.with_suffix(".md").write_text(page(content, table), encoding="utf-8")


def _facts(grid: Grid) -> dict[str, Any]:
    return {**facts("python -m benchmarks.evidence"), "grid": grid.model_dump(mode="json")}


def _small(grid: Grid) -> Grid:
    """The experiment with a few samples of one data set."""
    chosen = tuple(each.model_copy(update={"limit": 60}) for each in grid.data if each.name == "chat")
    return grid.model_copy(
        update={
            "data": chosen, "methods": grid.methods[:3], "seeds": 2, "full_seeds": 1, "pruning_rate": 0.5,
            "plan": {**grid.plan, "epochs": 1, "strata": 4, "verify_per_stratum": 2, "checkpoints": 0},
            "evaluation": {**grid.evaluation, "held_out_samples": 10},
        }
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
