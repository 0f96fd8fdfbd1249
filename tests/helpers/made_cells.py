"""Cells of an evaluation with made-up losses, and a folder of them."""

import numpy as np

from staff_engine.evaluation.cells import Cell, cells_of, sha256_of, write_cell
from staff_engine.evaluation.report import FACTS_FILE, Evaluation, Facts
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.system.files import write_json

PLAN = Plan.make(dataset="builtin:docstrings", small="s", target="t", seed=4)
MADE_WITH = {"target": "t"}


def evaluation(**changes):
    settings = {"source": "runs/a", "methods": ("staff", "random", "grand"), "pruning_rates": (0.9,)}
    return EvaluationPlan.make(**{**settings, **changes})


def cell(asked, *, loss, metric=10.0, select=0.5, train=10.0, made_with=MADE_WITH, losses=None):
    return Cell(
        arm=asked.arm, seed=asked.seed, pruning_rate=asked.pruning_rate, scores=asked.scores,
        budget=asked.budget, beta=asked.beta, strata=asked.strata,
        rows=6, rows_sha256=sha256_of(np.arange(6)), steps=3,
        loss=loss, metric=metric,
        losses=losses or (loss,), answers=(metric,) if metric is not None else (),
        seconds={"select": select, "train": train, "evaluate": 1.0}, made_with=made_with,
    )  # fmt: skip


LOSSES = {"staff": [2.0, 2.1, 2.3], "random": [2.2, 2.4, 2.45], "grand": [2.9, 2.0, 2.5]}


def make(folder, plan=None, *, losses=LOSSES, answers=100, timings=None):
    """An evaluation's folder with cells of made-up losses; an arm's list is by seed."""
    found = Evaluation(folder, PLAN, plan or evaluation())
    facts = Facts(
        made_with=MADE_WITH, metric="rouge-l", held_out=20, answers=answers, samples=60,
        selection_seconds={"small": 30.0, "staff": 45.0},
    )  # fmt: skip
    write_json(folder / FACTS_FILE, facts.model_dump(mode="json"))
    write_json(folder / "timings.json", timings or {})
    for asked in cells_of(PLAN, found.evaluation):
        values = losses.get(asked.arm, [3.0, 1.0, 2.0])
        metric = None if not answers else 10 * values[asked.seed - 4]
        write_cell(folder, cell(asked, loss=values[asked.seed - 4], metric=metric))
    return found
