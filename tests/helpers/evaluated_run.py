"""Whole evaluation runs on tiny models: their source, their folder, and what they leave."""

import json
import shutil

from staff_engine.evaluation.cells import read_cells
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.pipelines import coreset as pipeline
from staff_engine.plan import Plan
from staff_engine.system.files import write_json
from tests.helpers.tiny_run import Watch
from tests.helpers.tiny_run import make_run as make_source

METHODS_HERE = ("staff", "random", "grand")


def finished_source(folder, sources, **changes):
    """A finished run, for its coresets."""
    make_source(folder, sources, **changes)
    pipeline.execute(folder, Watch())
    write_json(folder / "timings.json", {"fine-tune": 4.0, "speculate": 3.0, "verify": 2.0})
    return folder


def make_run(folder, source, held_out, *, plan=None, **changes):
    settings = {
        "source": str(source), "methods": METHODS_HERE, "pruning_rates": (0.8,), "seeds": 2, "answers": 6,
        "held_out": held_out, "held_out_samples": 20, "answer_tokens": 8,
    }  # fmt: skip
    evaluation = EvaluationPlan.make(**{**settings, **changes})
    folder.mkdir(exist_ok=True)
    source_plan = json.loads((source / "plan.json").read_text())["plan"]
    record = {
        "name": "evaluated", "created": "2026-01-01T00:00:00Z", "versions": {},
        "plan": Plan.make(**{**source_plan, **(plan or {})}).model_dump(mode="json"),
        "evaluation": evaluation.model_dump(mode="json"),
    }  # fmt: skip
    write_json(folder / "plan.json", record)
    return folder


def without_seconds(folder):
    return {cell.asked.key: cell.model_copy(update={"seconds": {}}) for cell in read_cells(folder)}


def cell_of(run, arm, **more):
    (found,) = [
        cell
        for cell in run.cells
        if cell.arm == arm and all(getattr(cell, name) == value for name, value in more.items())
    ]
    return found


def copy_of(finished, folder, source, held_out, **changes):
    """A copy of a finished evaluation, with some settings changed."""
    shutil.copytree(finished.folder, folder)
    return make_run(folder, source, held_out, **changes)
