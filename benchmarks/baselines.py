"""Measure the time and memory of each baseline on simulated scores.

    python -m benchmarks.baselines

Each method at each size runs in its own process, which makes N lognormal scores and N embeddings of
256 dimensions in 200 groups, then selects at a pruning rate of 0.9. It writes
docs/measured/baselines.json and docs/measured/baselines.md. `--quick` uses small sizes and writes
nothing. It asserts nothing.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.machine import facts, table, written_by
from staff_engine.selection.baselines.ccs import select_ccs
from staff_engine.selection.baselines.d2 import select_d2
from staff_engine.selection.baselines.facility import select_facility
from staff_engine.selection.baselines.kmeans import select_kmeans
from staff_engine.selection.baselines.moderate import select_moderate
from staff_engine.selection.baselines.perplexity import select_perplexity
from staff_engine.selection.baselines.ranked import select_el2n, select_grand, select_random
from staff_engine.selection.baselines.s2l import select_s2l
from staff_engine.system.files import write_json

ROOT = Path(__file__).resolve().parents[1]
WIDTH, GROUPS, RATE, SEED = 256, 200, 0.9, 0
SIZES, QUICK = (10_000, 100_000), (500, 2_000)
FROM_SCORES = {
    "random": select_random, "grand": select_grand, "el2n": select_el2n, "ccs": select_ccs,
    "perplexity": select_perplexity,
}  # fmt: skip
CHECKPOINTS = 10
"""The trajectories of S2L are as many columns of the embeddings."""


def _s2l(scores: np.ndarray, embedding: np.ndarray, **how: Any) -> np.ndarray:
    return select_s2l(scores, embedding[:, :CHECKPOINTS], **how)


FROM_BOTH: dict[str, Callable[..., np.ndarray]] = {
    "moderate": select_moderate, "kmeans": select_kmeans, "s2l": _s2l, "facility": select_facility,
    "d2": select_d2,
}  # fmt: skip


def made_up(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores float64 (count,) and embeddings float16 (count, WIDTH)."""
    rng = np.random.default_rng(SEED)
    embedding = np.empty((count, WIDTH), np.float16)
    centres = rng.normal(0, 1, (GROUPS, WIDTH))
    for start in range(0, count, 4096):
        block = embedding[start : start + 4096]
        block[:] = centres[rng.integers(GROUPS, size=len(block))] + rng.normal(0, 0.5, block.shape)
    return rng.lognormal(size=count), embedding


def measure_here(method: str, count: int) -> dict[str, Any]:
    """Seconds, and the peak memory of this process in bytes: before the selection and in total."""
    scores, embedding = made_up(count)
    if method in FROM_BOTH:
        FROM_BOTH[method](scores[:50], embedding[:50], pruning_rate=RATE)  # loads scikit-learn
    before, start = _peak(), time.perf_counter()
    if method in FROM_SCORES:
        chosen = FROM_SCORES[method](scores, pruning_rate=RATE, seed=SEED)
    else:
        chosen = FROM_BOTH[method](scores, embedding, pruning_rate=RATE, seed=SEED)
    seconds = time.perf_counter() - start
    return {
        "method": method, "samples": count, "chosen": len(chosen), "seconds": seconds,
        "peak_before": before, "peak": _peak(),
    }  # fmt: skip


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(method: str, count: int) -> dict[str, Any]:
    """The same in a new process."""
    command = [sys.executable, "-m", "benchmarks.baselines", "--one", method, "--samples", str(count)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


PAGE = """# Time and memory of the baselines

After reading this page, you know how much time and memory each baseline needs.
[Baselines](../understand/baselines.md) explains the methods.

{head}

The data is simulated: lognormal scores, and embeddings of {width} dimensions in {groups} groups as float16.
Pruning rate {rate}, seed {seed}, OMP_NUM_THREADS {threads}. The time is that of the selection alone. *Peak
memory* is that of the process; *added memory* excludes its libraries and the data.

{table}
"""


def page(content: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    rows = [
        (
            row["method"],
            f"{row['samples']:,}",
            f"{row['seconds']:.3g}",
            f"{row['peak'] / 1e6:,.0f}",
            f"{(row['peak'] - row['peak_before']) / 1e6:,.0f}",
        )
        for row in content["rows"]
    ]
    heading = ("method", "samples", "seconds", "peak memory, MB", "added memory, MB")
    return PAGE.format(
        head=written_by(content, "baselines.json"),
        threads=content["threads"],
        table=table(heading, rows),
        **content["settings"],
    )


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Use small sizes. Write nothing.")] = False,
    one: Annotated[str | None, typer.Option(hidden=True)] = None,
    samples: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Measure, print the page, and write it."""
    if one is not None:
        print(json.dumps(measure_here(one, samples)))
        return
    methods = (*FROM_SCORES, *FROM_BOTH)
    rows = [measure(method, count) for count in (QUICK if quick else SIZES) for method in methods]
    content = {
        **facts("python -m benchmarks.baselines"),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "settings": {"seed": SEED, "width": WIDTH, "groups": GROUPS, "rate": RATE},
        "rows": rows,
    }
    print(page(content))
    if not quick:
        write_json(ROOT / "docs" / "measured" / "baselines.json", content)
        (ROOT / "docs" / "measured" / "baselines.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
