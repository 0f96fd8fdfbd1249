"""Measure how coresets of all methods train, on three tasks and three model families.

    python -m benchmarks.evidence

For each task and family, it does a run (nano as the small model, mini as the target), a run with a
tuned target, and an evaluation that fine-tunes the target on the coreset of each method, under
STAFF_HOME. Finished work is not repeated: a stopped evaluation continues with the next cell, and with a
new STAFF_HOME, cells in docs/measured/evidence.json are used again if their rows and settings are the
same. After each evaluation, it writes docs/measured/evidence.json and .md, and at the end the pictures
(`benchmarks.evidence.picture`). `--task` and `--family` select a part. `--quick` uses a few samples and
writes nothing. It asserts nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock

from benchmarks.evidence.page import page
from benchmarks.evidence.picture import draw
from benchmarks.machine import facts
from benchmarks.named_runs import carry_out, finished, named
from staff_engine.evaluation import planning
from staff_engine.evaluation.cells import Cell, cells_of, read_cell, write_cell
from staff_engine.evaluation.report import open_evaluation
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.results import open_results
from staff_engine.runs.stages import TARGET_SCORES
from staff_engine.system.files import write_json
from tests.helpers.driving import find_chromium

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs" / "measured" / "evidence.json"
FAMILIES, TASKS = ("llama", "gemma", "mistral"), ("docstrings", "kazakh", "chat")
METHODS = ("staff", "random", "grand", "el2n", "ccs", "d2")
TUNED = "STAFF, target tuned"
RATES = {"llama": (0.9, 0.8, 0.7, 0.5, 0.2), "gemma": (0.9,), "mistral": (0.9,)}
"""Rates, added one by one: the rate of all families first, for early results; later ones take longer."""

SETTINGS = {
    "limit": 600, "epochs": 3, "strata": 20, "verify_per_stratum": 5, "seed": 0, "tune_target": 60,
    "seeds": 3, "held_out_samples": 200, "answers": 100, "answer_tokens": 64,
}  # fmt: skip
QUICK = {
    **SETTINGS, "limit": 60, "epochs": 1, "strata": 4, "verify_per_stratum": 2, "tune_target": 8,
    "seeds": 2, "held_out_samples": 10, "answers": 4, "answer_tokens": 8,
}  # fmt: skip
OF_PLAN = ("limit", "epochs", "strata", "verify_per_stratum", "seed")
OF_EVALUATION = ("seeds", "held_out_samples", "answers", "answer_tokens")
LEFT_OUT = {"losses", "answers", "made_with"}
"""Fields of a cell that are not in the file: long ones, and those that all cells of an evaluation share."""


def main(
    task: Annotated[list[str] | None, typer.Option(help="Measure only these tasks.")] = None,
    family: Annotated[list[str] | None, typer.Option(help="Measure only these families.")] = None,
    quick: Annotated[
        bool, typer.Option(help="Use a few samples to test the benchmark. Write nothing.")
    ] = False,
) -> None:
    """Measure what is missing, and write the page."""
    if quick:
        with tempfile.TemporaryDirectory() as home:
            os.environ["STAFF_HOME"] = home
            found = measure("chat", "llama", (0.5,), QUICK, {})
        print(page({**_head(QUICK), "planned": len(found["cells"]), "evaluations": [found]}))
        return
    places = list(itertools.product(family or FAMILIES, task or TASKS))
    for count in range(1, max(map(len, RATES.values())) + 1):
        for each, name in places:
            if count <= len(RATES[each]):
                keep(measure(name, each, RATES[each][:count], SETTINGS, kept(name, each)))
    if find_chromium() is None:
        print("No Chromium, so no pictures; to draw them: python -m benchmarks.evidence.picture")
    else:
        draw(json.loads(FILE.read_text()))


def measure(
    task: str, family: str, rates: tuple[float, ...], settings: dict[str, int], before: dict[str, Any]
) -> dict[str, Any]:
    """Finish the runs and the evaluation of a task and a family. Return their results for the file."""
    plan = Plan.make(
        dataset=f"builtin:{task}", small=f"builtin:{family}-nano", target=f"builtin:{family}-mini",
        dtype="float32", pruning_rate=RATES[family][0], **{name: settings[name] for name in OF_PLAN},
    )  # fmt: skip
    source = finished(f"evidence {task} {family}", plan)
    tuned = finished(f"evidence {task} {family}, tuned", plan.but(tune_target=settings["tune_target"]))
    evaluation = evaluated(f"evidence {task} {family}, compared", source, tuned, rates, settings)
    put_back(evaluation, before)
    carry_out(evaluation)
    if missing(evaluation):  # it finished before rates were added
        control.start(evaluation)
        carry_out(evaluation)
    found = open_evaluation(evaluation.folder)
    fact = found.facts
    assert fact is not None
    timings = json.loads((evaluation.folder / "timings.json").read_text())
    return {
        "task": task,
        "family": family,
        "metric": fact.metric,
        "held_out": fact.held_out,
        "answers": fact.answers,
        "samples": fact.samples,
        "verified": open_results(source.folder).summary.verified,
        "trust": {
            name: open_results(run.folder).summary.as_json()["trust"]
            for name, run in (("staff", source), (TUNED, tuned))
        },
        "selection_seconds": {
            **fact.selection_seconds,
            "target": sum(timings.get(stage.name, 0.0) for stage in TARGET_SCORES),
        },
        "made_with": fact.made_with,
        "cells": [cell.model_dump(mode="json", exclude=LEFT_OUT) for cell in found.cells],
    }


def evaluated(
    name: str, source: control.Run, tuned: control.Run, rates: tuple[float, ...], settings: dict[str, int]
) -> control.Run:
    """The evaluation with this name, with these rates added if they are missing."""
    wanted: dict[str, Any] = {
        "methods": METHODS, "pruning_rates": rates, "baseline_scores": "target",
        "also": {TUNED: str(tuned.folder)}, **{name: settings[name] for name in OF_EVALUATION},
    }  # fmt: skip
    run = named(name)
    if run is None:
        return planning.create(*planning.plan_evaluation(source, **wanted), name=name)
    longer = planning.extended(run, **wanted)
    if longer != open_evaluation(run.folder).evaluation:
        planning.add_to(run, longer)
    return run


def missing(run: control.Run) -> int:
    """Number of missing cells of an evaluation."""
    found = open_evaluation(run.folder)
    return len(cells_of(found.plan, found.evaluation)) - len(found.cells)


def put_back(run: control.Run, before: dict[str, Any]) -> None:
    """Write the cells of the file for the run, which uses them if rows and settings are the same."""
    for cell in before.get("cells", ()):
        known = Cell(**cell, losses=(), answers=(), made_with=before["made_with"])
        if read_cell(run.folder, known.asked) is None:
            write_cell(run.folder, known)


def kept(task: str, family: str) -> dict[str, Any]:
    """The content of the file for a task and a family; empty if there is none."""
    found = json.loads(FILE.read_text())["evaluations"] if FILE.exists() else []
    return next((each for each in found if (each["task"], each["family"]) == (task, family)), {})


def planned(family: str) -> int:
    """Number of cells of a task and a family: one untouched, and per seed the full data and every coreset."""
    return 1 + SETTINGS["seeds"] * (1 + len(RATES[family]) * (len(METHODS) + 1))


def keep(found: dict[str, Any]) -> None:
    """Add an entry to the file and write the page. Other processes can do the same at the same time."""
    with FileLock(f"{FILE}.lock"):
        known = json.loads(FILE.read_text())["evaluations"] if FILE.exists() else []
        by_place = {(each["family"], each["task"]): each for each in [*known, found]}
        order = [place for place in itertools.product(FAMILIES, TASKS) if place in by_place]
        content = {
            **_head(SETTINGS),
            "planned": sum(planned(family) for family, _ in itertools.product(FAMILIES, TASKS)),
            "evaluations": [by_place[place] for place in order],
        }
        write_json(FILE, content)
        FILE.with_suffix(".md").write_text(page(content), encoding="utf-8")


def _head(settings: dict[str, int]) -> dict[str, Any]:
    return {**facts("python -m benchmarks.evidence"), "settings": settings}


if __name__ == "__main__":
    typer.run(main)
