"""Measure the selection overhead of STAFF on the whole docstrings task, relative to the target's own work.

    python -m benchmarks.overhead

Two runs, one after the other, on all training rows with the settings of the README's run. In the
second, the target is also the small model, so it is fine-tuned on everything and scores everything.
The runs stay under STAFF_HOME, and finished runs are not repeated. It writes
docs/measured/overhead.json and .md. `--quick` uses a few samples and writes nothing. It asserts
nothing.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import facts, table, written_by
from benchmarks.named_runs import finished
from staff_engine.plan import Plan
from staff_engine.runs.cost import run_cost
from staff_engine.runs.results import open_results
from staff_engine.system.files import write_json

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python -m benchmarks.overhead"
FILE = ROOT / "docs" / "measured" / "overhead.json"
SMALL, TARGET = "builtin:llama-nano", "builtin:llama-mini"
STRATA, VERIFY_PER_STRATUM = 50, 10
QUICK = {"limit": 40, "epochs": 1}
STAGES = ("fine-tune", "speculate", "verify")
PAPER_BEST = 0.295


def measure(settings: dict[str, int]) -> dict[str, Any]:
    """Do both runs and read their times."""
    plan = Plan.make(
        dataset="builtin:docstrings", small=SMALL, target=TARGET, strata=STRATA,
        verify_per_stratum=VERIFY_PER_STRATUM, seed=0, **settings,
    )  # fmt: skip
    staff = _found(finished("overhead, STAFF", plan).folder)
    target = _found(
        finished("overhead, target", plan.but(small=TARGET, strata=1, verify_per_stratum=1)).folder
    )
    return {
        "settings": {"epochs": plan.epochs, "seed": 0, **settings},
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "staff": staff,
        "target": target,
    }


def _found(folder: Path) -> dict[str, Any]:
    results = open_results(folder)
    timings = json.loads((folder / "timings.json").read_text())
    cost = run_cost(results.summary, timings)
    return {
        "samples": results.summary.samples,
        "verified": results.summary.verified,
        "seconds": {stage: timings[stage] for stage in STAGES},
        "dtype": results.summary.dtype,
        "estimate": {"training": cost.training, "full": cost.full, "overhead": cost.overhead},
    }


PAGE = """# Selection overhead

After reading this page, you know the cost of STAFF's selection, compared with fine-tuning the target on
everything and scoring everything on it.

{head}
Absolute times apply only to that machine at that time.

The data is all {samples:,} training samples of the docstrings task. `llama-nano` is the small model,
`llama-mini` the target. K = 50, b_v = 10, {epochs} epochs, seed 0. Both runs use this engine with the same
settings. In the second run, the target takes the role of the small model: it is fine-tuned on everything
and scores everything. GraNd, EL2N, CCS and D2 need this in the form of their papers. Times are wall time in
seconds{threads}, and the time of a stage includes loading its model. The runs were made one after the
other, so other work on the machine affected both, but not equally.

{seconds}

**STAFF's selection takes {overhead:.1%} of the target's time.** In the paper it is {best:.1%} at best (up
to 70.5 % less). The share depends mainly on how much slower the target is. Here, fine-tuning the target
takes {times:.1f} times as long as fine-tuning the small model. Verifying {verified:,} samples takes the
same time for any size of data.

Every run reports this share. It does not fine-tune the target, so it uses an estimate ([how it is
made](../understand/method.md#what-selection-costs)). Here the estimate was {estimated:.1%}: {full:.0f} s for
scoring (actual: {full_found:.0f} s) and {training:.0f} s for fine-tuning (actual: {training_found:.0f} s).
"""


def page(content: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    staff, target = content["staff"], content["target"]
    whole = sum(target["seconds"][stage] for stage in STAGES[:2])
    own = sum(staff["seconds"].values())
    rows = [
        (words, f"{staff['seconds'][stage]:.0f}", f"{target['seconds'][stage]:.0f}" if counted else "–")
        for stage, words, counted in (
            ("fine-tune", "fine-tuning on everything", True),
            ("speculate", "scoring everything", True),
            ("verify", f"verifying {staff['verified']:,} samples on the target", False),
        )
    ]
    rows.append(("**total**", f"**{own:.0f}**", f"**{whole:.0f}**"))
    estimate = staff["estimate"]
    return PAGE.format(
        head=written_by(content, "overhead.json"),
        samples=staff["samples"], verified=staff["verified"], epochs=content["settings"]["epochs"],
        threads=f", with OMP_NUM_THREADS={content['threads']}" if content["threads"] else "",
        seconds=table(("", "STAFF, small model", "target"), rows),
        overhead=own / whole, best=PAPER_BEST,
        times=target["seconds"]["fine-tune"] / staff["seconds"]["fine-tune"],
        estimated=estimate["overhead"], full=estimate["full"], training=estimate["training"],
        full_found=target["seconds"]["speculate"], training_found=target["seconds"]["fine-tune"],
    )  # fmt: skip


def main(
    quick: Annotated[
        bool, typer.Option(help="Use a few samples to test the benchmark. Write nothing.")
    ] = False,
) -> None:
    """Measure, print the page, and write it."""
    if quick:
        with tempfile.TemporaryDirectory() as home:
            os.environ["STAFF_HOME"] = home
            print(page({**facts(COMMAND), **measure(QUICK)}))
        return
    content = {**facts(COMMAND), **measure({})}
    print(page(content))
    write_json(FILE, content)
    FILE.with_suffix(".md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
