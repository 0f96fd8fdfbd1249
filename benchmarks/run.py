"""Measure the README's run and larger ones on the same data: time of each stage, and forecast error.

    python -m benchmarks.run

It forecasts and does runs with 600, 2,400 and 6,000 docstrings, one after the other, each with the
README's command. Then it selects again from 100,000 simulated samples. It writes docs/measured/run.json
and docs/measured/run.md. `--quick` uses a few samples and writes nothing. It asserts nothing.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.machine import facts, table, written_by
from staff_engine.runs.cost import run_cost
from staff_engine.runs.summary import load_summary, load_timings
from staff_engine.scoring.parts import read_parts
from staff_engine.system.files import write_json
from tests.helpers.made_run import make_finished_run

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python -m benchmarks.run"
SIZES, SELECTED_FROM = (600, 2400, 6000), 100_000
QUICK_SIZES, QUICK_SELECTED_FROM = (40, 80), 2000
REPEATS = 5


def run_options(samples: int, *, quick: bool) -> list[str]:
    """The README's command with this number of samples."""
    [block] = re.findall(r"<!-- ci: run -->\n```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    words = block.replace("\\\n", " ").split()
    del words[: words.index("run") + 1]
    words[words.index("--limit") + 1] = str(samples)
    del words[words.index("--out") : words.index("--out") + 2]
    return [*words, "--epochs", "1"] if quick else words


def measure(arguments: list[str], home: Path, *, every: float = 0.2) -> tuple[float, float, str]:
    """Wall time in seconds, peak memory of the largest child process in MB, and the output."""
    peak = 0.0
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "staff_engine", *arguments],
        cwd=ROOT,
        env={**os.environ, "STAFF_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    output: list[tuple[str, str]] = []
    reader = threading.Thread(target=lambda: output.append(process.communicate()))
    reader.start()
    while process.poll() is None:
        for each in psutil.process_iter(["cmdline", "memory_info"]):
            if str(home) in " ".join(each.info["cmdline"] or ()) and each.info["memory_info"]:
                peak = max(peak, each.info["memory_info"].rss / 1e6)
        time.sleep(every)
    seconds = time.perf_counter() - start
    reader.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{''.join(output[0])}")
    return seconds, peak, output[0][0]


def measure_run(samples: int, *, quick: bool) -> dict[str, Any]:
    """Forecast a run, do it, and read its results."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        options = run_options(samples, quick=quick)
        forecast_seconds, _, _ = measure(["forecast", *options, "--json"], home)
        seconds, memory, _ = measure(["run", *options, "--out", str(home / "coreset.jsonl")], home)
        [run] = (home / "runs").iterdir()
        summary, timings = load_summary(run), load_timings(run)
        off = json.loads((run / "forecast_error.json").read_text())
        scores = read_parts(run / "speculative", ["prompt_tokens", "response_tokens"])
        verified = read_parts(run / "verification", ["seconds"])["seconds"].to_numpy().sum()
    cost = run_cost(summary, timings)
    return {
        "samples": summary.samples,
        "tokens": int(sum(column.to_numpy().sum() for column in scores.itercolumns())),
        "run_seconds": round(seconds, 1),
        "run_peak_mb": round(memory),
        "stages": timings,
        "start_seconds": round(seconds - sum(timings.values()), 2),
        "small_scoring_seconds": round(summary.small_scoring_seconds or 0.0, 2),
        "target_scoring_seconds": round(float(verified), 2),
        "verified": summary.verified,
        "coreset_size": summary.coreset_size,
        "full_target_seconds": cost.full,
        "target_training_seconds": cost.training,
        "saved": cost.saved,
        "overhead": cost.overhead,
        "forecast_seconds": round(forecast_seconds, 1),
        "forecast": off,
    }


def measure_selecting(samples: int) -> list[float]:
    """Wall time in seconds of `select` for a finished run with a number of simulated samples."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        os.environ["STAFF_HOME"] = str(home)
        run = make_finished_run(Path(folder), samples, strata=50, verify_per_stratum=10)
        again = [
            "select",
            run.id,
            "--pruning-rate",
            "0.8",
            "--strata",
            "40",
            "--out",
            f"{folder}/other.jsonl",
        ]
        return sorted(round(measure(again, home, every=0.02)[0], 2) for _ in range(REPEATS))


PAGE = """# Time and memory of a run

After reading this page, you know the time and memory of small runs, how both grow with the data, and how
accurate the forecasts were.

{head}
Absolute times apply only to that machine at that time.

## Time per stage

`llama-nano` is the small model, `llama-mini` the target. K = 50, b_v = 10, three epochs, seed 0. The first
column is the run in the README. Times are in seconds, and the time of a stage includes loading its
libraries and its model.

{stages}

## Growth with the data

{growth}

The time of fine-tuning and scoring grows with the number of tokens, plus a fixed time per process.
Verification stops growing: it covers at most 500 samples for any size of data. So the share saved grows
with the data. It also grows with the size of the target, which is small here.

*Overhead* is the run's fine-tuning, scoring and verifying as a share of fine-tuning the target on
everything and scoring everything on it. *Saved* compares the run with that scoring alone
([definitions](../understand/method.md#what-selection-costs)). Both are estimated from the target's speed
over the verified samples.

## Forecast error

`python -m staff_engine forecast` was run with the same options directly before each run. Each cell has the
forecast and actual values, and forecast / actual − 1. Times are in seconds.

{forecasts}

## Selecting again

`select` with other settings, from a run of {selected_from:,} samples, including the start of Python and
writing the coreset: median {median:.2f} s of {selecting}.
"""


def page(content: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    found = content["runs"]
    sizes = tuple(f"{run['samples']:,} samples" for run in found)
    names = [name for name in found[0]["stages"] if any(run["stages"][name] >= 0.05 for run in found)]
    stages = [
        ("starting and ending the two processes", *(f"{run['start_seconds']:.1f}" for run in found)),
        *((name, *(f"{run['stages'][name]:.1f}" for run in found)) for name in names),
        ("*of speculate: scoring*", *(f"{run['small_scoring_seconds']:.1f}" for run in found)),
        ("*of verify: scoring*", *(f"{run['target_scoring_seconds']:.1f}" for run in found)),
        ("**wall time**", *(f"**{run['run_seconds']:.1f}**" for run in found)),
        ("peak memory of the run's process, MB", *(f"{run['run_peak_mb']:,}" for run in found)),
    ]
    growth = [
        ("tokens", *(f"{run['tokens']:,}" for run in found)),
        ("fine-tune, s per 1,000 tokens", *(_each(run, run["stages"]["fine-tune"]) for run in found)),
        ("scoring on the small model, s per 1,000 tokens",
         *(_each(run, run["small_scoring_seconds"], 3) for run in found)),
        ("verified samples", *(f"{run['verified']:,}" for run in found)),
        ("verify, s", *(f"{run['stages']['verify']:.1f}" for run in found)),
        ("scoring everything on the target, s (estimate)",
         *(f"{run['full_target_seconds']:.0f}" for run in found)),
        ("fine-tuning the target on everything, s (rougher estimate)",
         *(f"{run['target_training_seconds']:.0f}" for run in found)),
        ("saved", *(f"{run['saved']:.0%}" for run in found)),
        ("overhead", *(f"{run['overhead']:.0%}" for run in found)),
    ]  # fmt: skip
    offs = [
        (
            name.replace("total_seconds", "**total**"),
            *(_off(run["forecast"].get(name)) for run in found),
        )
        for name in ("total_seconds", "import", "tokenize", "fine-tune", "speculate", "verify")
    ]
    offs.append(("memory, MB", *(_off(run["forecast"].get("memory_bytes"), 1e-6) for run in found)))
    offs.append(("*time of the forecast itself*", *(f"{run['forecast_seconds']:.0f} s" for run in found)))
    return PAGE.format(
        head=written_by(content, "run.json"),
        stages=table(("", *sizes), stages),
        growth=table(("", *sizes), growth),
        forecasts=table(("", *sizes), offs),
        selected_from=content["selected_from"],
        median=statistics.median(content["select_seconds"]),
        selecting=content["select_seconds"],
    )


def _each(run: dict[str, Any], seconds: float, digits: int = 2) -> str:
    return f"{seconds / run['tokens'] * 1000:.{digits}f}"


def _off(compared: dict[str, float] | None, unit: float = 1.0) -> str:
    """The forecast value, the actual one, and the error."""
    if compared is None:
        return "–"
    said, found = (compared[name] * unit for name in ("forecast", "found"))
    digits = 0 if found >= 100 else 1
    return f"{said:,.{digits}f}, {found:,.{digits}f}: {compared['error']:+.0%}"


def main(
    quick: Annotated[
        bool, typer.Option(help="Use a few samples to test the benchmark. Write nothing.")
    ] = False,
) -> None:
    """Measure, print the page, and write it."""
    sizes, selected_from = (QUICK_SIZES, QUICK_SELECTED_FROM) if quick else (SIZES, SELECTED_FROM)
    content = {
        **facts(COMMAND),
        "seed": 0,
        "runs": [measure_run(samples, quick=quick) for samples in sizes],
        "selected_from": selected_from,
        "select_seconds": measure_selecting(selected_from),
    }
    print(page(content))
    if not quick:
        write_json(ROOT / "docs" / "measured" / "run.json", content)
        (ROOT / "docs" / "measured" / "run.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
