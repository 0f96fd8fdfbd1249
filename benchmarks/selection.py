"""Measure the time of selecting, relative to a sort of the same scores in the same process, and the memory.

    python -m benchmarks.selection

It writes docs/measured/selection.json and docs/measured/selection.md. `--quick` uses small sizes and
writes nothing. `--only-many` measures only the most scores, and prints them. It asserts nothing.
"""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import machine
from staff_engine import Pool, draw_verification, select_coreset
from staff_engine.selection.order.order_statistics import LARGE
from staff_engine.system.files import write_json

ROOT = Path(__file__).resolve().parents[1]
SEED = 0
BASE = {"pruning_rate": 0.9, "num_strata": 50, "seed": SEED}
PER_STRATUM = 10
REPEATS = {10**5: 101, 10**6: 31, 10**7: 7}
QUICK = {10**4: 5, 10**5: 5}
MOST_MEMORY = 1.5  # GB, at 10**7
MANY, QUICK_MANY, MANY_REPEATS = 10**8, 2 * 10**5, 3
MOST_MEMORY_OF_MANY = 4.0  # GB, at 10**8

SORT = "np.sort of the scores"


class Bench:
    """Scores, verified scores, a pool of the scores, and setting values that no earlier call has used."""

    def __init__(self, count: int) -> None:
        self.rng = np.random.default_rng(SEED)
        self.scores = self.rng.lognormal(size=count)
        self.pool = Pool(self.scores)
        self.drawn = draw_verification(self.pool, num_strata=50, per_stratum=PER_STRATUM, seed=SEED)
        self.verified = self._target(self.drawn)
        self.more = draw_verification(self.pool, num_strata=50, per_stratum=2 * PER_STRATUM, seed=SEED)
        self.seeds = itertools.count(SEED + 1)
        # A number repeats only long after the pool has discarded its strata.
        self.strata = itertools.cycle(self.rng.permutation(np.setdiff1d(np.arange(20, 120), 50)).tolist())
        self.allocations = itertools.cycle(["normalized", "paper"])

    def _target(self, ids: np.ndarray) -> np.ndarray:
        return 1.3 * self.scores[ids] * self.rng.lognormal(sigma=0.3, size=len(ids))

    def select(self, scores: Any = None, **changes: Any) -> None:
        scores = self.pool if scores is None else scores
        select_coreset(scores, self.drawn, self.verified, **{**BASE, **changes})

    def draw(self, scores: Any = None, **settings: Any) -> None:
        settings = {"num_strata": 50, "per_stratum": PER_STRATUM, "seed": SEED, **settings}
        draw_verification(self.pool if scores is None else scores, verified=self.drawn[::2], **settings)

    def prune(self) -> float:
        return float(self.rng.uniform(0.5, 0.95))

    def target_of_more(self) -> dict[str, np.ndarray]:
        count = int(self.rng.integers(len(self.drawn) // 2, len(self.more)))
        ids = np.sort(self.rng.choice(self.more, count, replace=False))
        return {"ids": ids, "scores": self._target(ids)}


@dataclass(frozen=True)
class Case:
    """A name, a function for its arguments (not timed), the timed function, and the goal in sort times."""

    name: str
    values: Callable[[Bench], dict[str, Any]]
    call: Callable[..., Any] = Bench.select
    goal: float | None = None


def _ratios(bench: Bench, ids: np.ndarray, scores: np.ndarray) -> None:
    select_coreset(bench.pool, ids, scores, **BASE)


CASES = [
    Case(SORT, lambda b: {}, lambda b: np.sort(b.scores)),
    Case("from scratch", lambda b: {"scores": b.scores, "pruning_rate": b.prune()}, goal=8),
    Case("from scratch, hardest first", lambda b: {"scores": b.scores, "within": "hardest"}),
    Case("K changed", lambda b: {"num_strata": next(b.strata)}, goal=3),
    Case("pruning rate changed", lambda b: {"pruning_rate": b.prune()}, goal=0.3),
    Case("allocation changed", lambda b: {"allocation": next(b.allocations)}, goal=0.3),
    Case("ratios changed", Bench.target_of_more, _ratios, goal=0.3),
    Case("seed changed", lambda b: {"seed": next(b.seeds)}),
    Case("strata by logarithm, K changed", lambda b: {"strata_by": "log", "num_strata": next(b.strata)}),
    Case("strata by quantile, K changed", lambda b: {"strata_by": "quantile", "num_strata": next(b.strata)}),
    Case("hardest dropped changed", lambda b: {"drop_hardest": float(b.rng.uniform(0.01, 0.3))}),
    Case("hardest first, K changed", lambda b: {"within": "hardest", "num_strata": next(b.strata)}),
    Case("draw to verify, from scratch", lambda b: {"scores": b.scores}, Bench.draw),
    Case("draw to verify, K changed", lambda b: {"num_strata": next(b.strata)}, Bench.draw),
    Case("draw to verify, count changed", lambda b: {"per_stratum": int(b.rng.integers(5, 50))}, Bench.draw),
]


OF_MANY = (
    *(
        case
        for case in CASES
        if case.name
        in {
            "from scratch",
            "from scratch, hardest first",
            "K changed",
            "pruning rate changed",
            "strata by quantile, K changed",
            "draw to verify, from scratch",
        }
    ),
    Case("from scratch, pruning rate 0", lambda b: {"scores": b.scores, "pruning_rate": 0.0}),
)
"""The cases that are measured with the most scores, before a sort of them."""


def measure(count: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each call of each case. The cases alternate."""
    bench = Bench(count)
    took: dict[str, list[float]] = {case.name: [] for case in CASES}
    for turn in range(repeats + 1):
        for case in CASES:
            bench.select(pruning_rate=bench.prune())  # as with a run that is open with these settings
            bench.draw()
            values = case.values(bench)
            began = time.perf_counter()
            case.call(bench, **values)
            seconds = time.perf_counter() - began
            if turn:  # the first call is a warm-up
                took[case.name].append(round(1000 * seconds, 4))
    return took


def measure_many(count: int) -> dict[str, Any]:
    """Milliseconds of each call of the cases for many scores, and the peak memory of the process in GB.

    The scores are sorted last, because a sort needs a copy of them.
    """
    bench = Bench(count)
    took: dict[str, list[float]] = {}
    peak = 0.0
    for case in (*OF_MANY, CASES[0]):
        peak = peak_of_process() if case is CASES[0] else peak
        for _ in range(MANY_REPEATS):
            values = case.values(bench)
            began = time.perf_counter()
            case.call(bench, **values)
            took.setdefault(case.name, []).append(round(1000 * (time.perf_counter() - began), 4))
    return {"milliseconds": took, "peak_gb": round(peak, 3)}


def peak_of_process() -> float:
    """Peak memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def in_a_new_process(option: str, count: int) -> Any:
    """What the benchmark prints, as JSON, if it is called with a hidden option."""
    # Its peak is at least that of the parent process, so call this while the parent is still small.
    command = [sys.executable, "-m", "benchmarks.selection", option, str(count)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """One table row per case and size."""
    lines = []
    for count, took in found.items():
        sort = statistics.median(took[SORT])
        for case in (*CASES, OF_MANY[-1]):
            if case.name not in took:
                continue
            middle = statistics.median(took[case.name])
            limit = case.goal if int(count) <= LARGE else None
            goal = f"at most {limit:g}" if limit else ""
            within = ("yes" if middle / sort <= limit else "no") if limit else ""
            lines.append(
                (f"{int(count):,}", case.name, f"{middle:.2f}", f"{middle / sort:.2f}", goal, within)
            )
    return lines


def table(found: dict[str, Any]) -> str:
    heading = ("N", "case", "milliseconds", "time / np.sort", "goal", "goal met")
    lines = [heading, ("---:", "---", "---:", "---:", "---", "---"), *rows(found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(content: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    return f"""# Speed of selecting

After reading this page, you know how long a selection takes, from scratch and after a change of one
setting.

{machine.written_by(content, "selection.json")} NumPy {content["numpy"]}, seed {content["seed"]}.

There are N lognormal scores. By default, K = 50, b_v = 10 and the pruning rate is 0.9. *From scratch* calls
`select_coreset` with an array. The other cases use a `Pool` of the scores that has these settings, and
change the named setting to a value that is not cached (*K*: 20 to 119; *pruning rate*: 0.5 to 0.95;
*ratios*: other verified samples, with other scores). All cases take turns in one process. Times are medians
of {content["repeats"]} calls.

{table(content["milliseconds"])}

Peak memory of a process that runs every case with {content["peak_at"]:,} scores, including Python and the
scores: {content["peak_gb"]:.2f} GB (goal: at most {MOST_MEMORY} GB).

With {content["many"]:,} scores, a process of its own runs some of the cases, {MANY_REPEATS} times each, and
then sorts the scores. Its peak memory before the sort, including Python and the scores:
{content["many_peak_gb"]:.2f} GB (goal: below {MOST_MEMORY_OF_MANY:g} GB). Above {LARGE:,} samples, scores and
priorities are not sorted whole: histograms find the edges of the strata and the samples of the draw. The
result is the same. Little is cached, so a change of the pruning rate takes longer, relative to a sort.
"""


def main(
    quick: Annotated[bool, typer.Option(help="Use small sizes and few calls. Write nothing.")] = False,
    only_many: Annotated[bool, typer.Option(help="Measure only the most scores. Write nothing.")] = False,
    peak_at: Annotated[int, typer.Option(hidden=True)] = 0,
    many_at: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Measure and print the table. Write it to docs/ unless --quick is given."""
    if peak_at:
        measure(peak_at, repeats=1)
        print(peak_of_process())
        return
    if many_at:
        print(json.dumps(measure_many(many_at)))
        return
    sizes = {} if only_many else QUICK if quick else REPEATS
    largest, many = max(sizes, default=0), QUICK_MANY if quick else MANY
    of_many = in_a_new_process("--many-at", many)
    peak = in_a_new_process("--peak-at", largest) if sizes else 0.0
    found = {str(count): measure(count, repeats) for count, repeats in sizes.items()}
    found[str(many)] = of_many["milliseconds"]
    print(table(found))
    print(f"Peak memory at {largest:,}: {peak:.2f} GB; at {many:,}: {of_many['peak_gb']:.2f} GB")
    if quick or only_many:
        return
    content = {
        **machine.facts("python -m benchmarks.selection"),
        "seed": SEED,
        "numpy": np.__version__,
        "repeats": ", ".join(f"{repeats} (N = {count:,})" for count, repeats in sizes.items()),
        "peak_at": largest,
        "peak_gb": round(peak, 3),
        "many": many,
        "many_peak_gb": of_many["peak_gb"],
        "milliseconds": found,
    }
    write_json(ROOT / "docs" / "measured" / "selection.json", content)
    (ROOT / "docs" / "measured" / "selection.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
