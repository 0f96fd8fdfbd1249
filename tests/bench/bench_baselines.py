"""How long each baseline takes to choose, and how much memory, from made-up scores.

    python tests/bench/bench_baselines.py
    python tests/bench/bench_baselines.py --quick     # small sizes; writes nothing

Each method at each size has a process of its own, which makes N lognormal scores and N embeddings
of 256 dimensions in 200 groups, then chooses at a pruning rate of 0.9. Writes
docs/baselines_measured.json and .md. No test: it asserts nothing.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from staff_engine.baselines import (  # noqa: E402
    select_ccs,
    select_el2n,
    select_grand,
    select_moderate,
    select_random,
)
from staff_engine.d2 import select_d2  # noqa: E402
from staff_engine.files import write_json  # noqa: E402

WIDTH, GROUPS, RATE, SEED = 256, 200, 0.9, 0
SIZES, QUICK = (10_000, 100_000), (500, 2_000)
FROM_SCORES = {"random": select_random, "grand": select_grand, "el2n": select_el2n, "ccs": select_ccs}
FROM_BOTH = {"moderate": select_moderate, "d2": select_d2}


def machine() -> str:
    """The machine in words: cores, memory, and that others may work on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores, {platform.machine()}, {memory:.0f} GB, shared with other work"


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
    """Seconds, and the memory that this process took at most: before the choice and in all, in bytes."""
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
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", method, "--samples", str(count)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


HEAD = """# What the baselines take, measured

Written by `python tests/bench/bench_baselines.py` on {date}: {machine}, Python {python}, OMP_NUM_THREADS
{threads}, seed {seed}. The figures are in [baselines_measured.json](baselines_measured.json);
[baselines.md](baselines.md) says what the methods do.

Made-up data: lognormal scores, embeddings of {width} dimensions in {groups} groups as float16; pruning rate
{rate}. Seconds are those of the choice alone. *Memory* is the most that the process took, *more* what it took
beyond its libraries and the data.

"""


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each method and size."""
    lines = ["| method | samples | seconds | memory, MB | more, MB |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        more = (row["peak"] - row["peak_before"]) / 1e6
        lines.append(
            f"| {row['method']} | {row['samples']:,} | {row['seconds']:.3g} | {row['peak'] / 1e6:,.0f} |"
            f" {more:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes; write nothing.")] = False,
    one: Annotated[str | None, typer.Option(hidden=True)] = None,
    samples: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    if one is not None:
        print(json.dumps(measure_here(one, samples)))
        return
    methods = (*FROM_SCORES, *FROM_BOTH)
    rows = [measure(method, count) for count in (QUICK if quick else SIZES) for method in methods]
    print(table(rows))
    if quick:
        return
    settings = {"seed": SEED, "width": WIDTH, "groups": GROUPS, "rate": RATE}
    content = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(), "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"), "settings": settings, "rows": rows,
    }  # fmt: skip
    write_json(ROOT / "docs" / "baselines_measured.json", content)
    page = HEAD.format(
        **{name: content[name] for name in ("date", "machine", "python", "threads")}, **settings
    )
    (ROOT / "docs" / "baselines_measured.md").write_text(page + table(rows), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
