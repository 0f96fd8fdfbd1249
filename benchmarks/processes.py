"""Measure how much faster two processes do a run than one.

    python -m benchmarks.processes

A run on docstrings is planned for two processes and done twice: by one process, then by two, each with one
thread. It compares the time of the stages in which all processes work, and whether both runs end with the
same coreset and scores. It writes docs/measured/processes.json and .md. `--quick` uses a few samples and
writes nothing. It asserts nothing.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import facts, table, written_by
from staff_engine.cli.watch import watch
from staff_engine.plan import Plan
from staff_engine.runs import control, stages
from staff_engine.runs.results import Results, open_results
from staff_engine.runs.summary import load_timings
from staff_engine.system.files import write_json

FILE = Path(__file__).resolve().parents[1] / "docs" / "measured" / "processes.json"
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.processes"
SAMPLES, EPOCHS = 1_000, 1
STAGES = (stages.FINE_TUNE, stages.SPECULATE, stages.VERIFY)
GOAL = 1.6
"""Times as fast as one process, in scoring."""

PAGE = """# Several processes

After reading this page, you know how much faster two processes do a run than one.

{head}
The run reads {samples:,} docstrings, with llama-nano as the small model, llama-mini as the target and
{epochs} epoch. Both runs are planned for two processes; each process has one thread. The time of a stage
includes loading its model, which each process does for itself. Both processes share the memory and the
caches of this machine, so two GPUs can differ.

{table}

The goal for scoring all samples is {goal} times as fast: {verdict}. {same}
"""


def measure(samples: int) -> dict[str, Any]:
    """Do the run by one and by two processes."""
    plan = Plan.make(
        dataset="builtin:docstrings", limit=samples, small="builtin:llama-nano", target="builtin:llama-mini",
        epochs=EPOCHS, dtype="float32", processes=2,
    )  # fmt: skip
    os.environ["OMP_NUM_THREADS"] = "1"
    one, two = (_done(plan, processes) for processes in (1, 2))
    timings = [load_timings(each.folder) or {} for each in (one, two)]
    return {
        "samples": samples,
        "seconds": {stage.name: [each[stage.name] for each in timings] for stage in STAGES},
        "same_coreset": bool((one.select().indices == two.select().indices).all()),
        "same_scores": _efforts(one).equals(_efforts(two)),
    }


def _done(plan: Plan, processes: int) -> Results:
    run = control.create_run(plan, name=f"{processes} processes")
    control.start(run, processes=processes)
    watch(run, cancels=False)
    return open_results(run.folder)


def _efforts(results: Results) -> Any:
    return results.read("speculative").sort_by("row_id")["effort"]


def page(content: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    seconds = content["seconds"]
    rows = [
        (stage.label, f"{seconds[stage.name][0]:.1f} s", f"{seconds[stage.name][1]:.1f} s",
         f"{seconds[stage.name][0] / seconds[stage.name][1]:.2f}")
        for stage in STAGES
    ]  # fmt: skip
    one, two = seconds[stages.SPECULATE.name]
    equal = content["same_coreset"] and content["same_scores"]
    return PAGE.format(
        head=written_by(content, "processes.json"), samples=content["samples"], epochs=EPOCHS, goal=GOAL,
        table=table(("stage", "one process", "two processes", "times as fast"), rows),
        verdict="reached" if one / two >= GOAL else "not reached",
        same="Both runs have the same scores, bit for bit, and the same coreset."
        if equal else "The two runs do not have the same scores.",
    )  # fmt: skip


def main(
    quick: Annotated[
        bool, typer.Option(help="Use a few samples to test the benchmark. Write nothing.")
    ] = False,
) -> None:
    """Measure, print the page, and write it."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["STAFF_HOME"] = home
        content = {**facts(COMMAND), **measure(40 if quick else SAMPLES)}
    print(page(content))
    if not quick:
        write_json(FILE, content)
        FILE.with_suffix(".md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
