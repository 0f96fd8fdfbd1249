"""Measure the time and memory of the draw `diverse` within strata.

    python -m benchmarks.diverse

It writes docs/measured/diverse.json and docs/measured/diverse.md. `--quick` uses a few samples and writes
nothing. It asserts nothing.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import machine
from benchmarks.pages import FOLDER
from staff_engine.selection.diverse import BLOCK, DiverseOrder
from staff_engine.selection.drawing import SELECTION, order_at_random
from staff_engine.selection.strata import stratify
from staff_engine.system.files import write_json
from staff_engine.system.words import duration

SEED = 0
DIMENSIONS = 256
STRATA = 20
KEPT = 0.1
CENTRES = 200
GOAL = "100,000 samples in at most 60 s and 1 GB"


@dataclass(frozen=True)
class Case:
    """A number of samples, and how many of the strata, which are of equal size, are measured."""

    samples: int
    measured: int = STRATA


CASES = (Case(100_000), Case(1_000_000, measured=1))
QUICK = (Case(4_000), Case(40_000, measured=2))


def measure(case: Case) -> dict[str, float]:
    """Seconds to prepare and to draw, and the peak memory of this process in GB.

    The seconds of the draw are those of the measured strata, times the number of all strata per measured one.
    """
    rng = np.random.default_rng(SEED)
    embedding = _embeddings(case.samples, rng)
    scores = rng.lognormal(size=case.samples)
    strata = stratify(scores, num_strata=STRATA, dropped=0, by="quantile")
    order = order_at_random(case.samples, seed=SEED, stream=SELECTION)
    began = time.perf_counter()
    diverse = DiverseOrder(strata, embedding, order)
    prepared = time.perf_counter()
    counts = np.zeros(STRATA, dtype=np.int64)
    counts[: case.measured] = np.round(KEPT * strata.sizes[: case.measured])
    drawn = diverse.first(counts)
    ended = time.perf_counter()
    return {
        "prepare": prepared - began,
        "draw": (ended - prepared) * STRATA / case.measured,
        "drawn": len(drawn),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def _embeddings(count: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors around random centres with a common offset, float16 (count, DIMENSIONS), made in blocks."""
    centres = rng.normal(size=(CENTRES, DIMENSIONS)) + 3
    embedding = np.empty((count, DIMENSIONS), np.float16)
    for start in range(0, count, BLOCK):
        part = embedding[start : start + BLOCK]
        part[:] = centres[rng.integers(0, CENTRES, len(part))] + rng.normal(size=part.shape)
    return embedding


def measured_apart(case: Case) -> dict[str, Any]:
    """`measure` in a process of its own, whose peak memory is then that of this case."""
    command = [sys.executable, "-m", "benchmarks.diverse", "--only", f"{case.samples},{case.measured}"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {"samples": case.samples, "measured_strata": case.measured, **found}


def table(found: list[dict[str, Any]]) -> str:
    """A Markdown table with a row for each case."""
    heading = ("samples", "prepare", "draw 10 %", "peak memory", "how")
    rows = [
        (
            f"{each['samples']:,}",
            duration(each["prepare"]),
            duration(each["draw"]),
            f"{each['peak_gb']:.2f} GB",
            "measured"
            if each["measured_strata"] == STRATA
            else f"estimated: {each['measured_strata']} of {STRATA} strata drawn, times"
            f" {STRATA // each['measured_strata']}",
        )
        for each in found
    ]
    return machine.table(heading, rows)


def page(content: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    return f"""# Speed of diverse draws

After reading this page, you know how long the draw `diverse` takes within strata, and how much memory it
needs.

{machine.written_by(content, "diverse.json")} NumPy {content["numpy"]}, seed {SEED}, {content["threads"]}.

There are {STRATA} strata of equal size. Embeddings have {DIMENSIONS} dimensions in float16 and lie around
{CENTRES} random centres. A tenth of each stratum is drawn. *Prepare* is the work before the first draw (the
members of each stratum, the mean embedding). Strata of more than {BLOCK:,} samples are divided into blocks.
Peak memory includes Python and the embeddings. A later draw of as many or fewer samples takes no time,
because the order is kept. Goal: {GOAL}.

{table(content["cases"])}
"""


def main(
    quick: Annotated[bool, typer.Option(help="Use a few samples. Write nothing.")] = False,
    only: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure and print the table. Write it to docs/ unless --quick is given."""
    if only:
        print(json.dumps(measure(Case(*map(int, only.split(","))))))
        return
    found = [measured_apart(case) for case in (QUICK if quick else CASES)]
    print(table(found))
    if quick:
        return
    content = {
        **machine.facts("python -m benchmarks.diverse"),
        "numpy": np.__version__,
        "threads": machine.threads(),
        "cases": found,
    }
    write_json(FOLDER / "diverse.json", content)
    (FOLDER / "diverse.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
