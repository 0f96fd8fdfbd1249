"""The README's run, and selecting again from 100,000 samples: wall time and peak memory.

    python tests/bench/bench_run.py

Writes docs/measured.json and docs/measured.md. No test: it asserts nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import machine  # noqa: E402

from staff_engine.dataset import import_dataset  # noqa: E402
from staff_engine.files import write_json  # noqa: E402
from staff_engine.parts import SCORE_COLUMNS, read_parts  # noqa: E402
from staff_engine.plan import Plan  # noqa: E402
from staff_engine.runs import create_run  # noqa: E402

SAMPLES = 100_000
REPEATS = 5
RUN = [
    *("run", "--dataset", "builtin:docstrings", "--limit", "600", "--small", "builtin:llama-nano"),
    *(
        "--target",
        "builtin:llama-mini",
        "--pruning-rate",
        "0.9",
        "--strata",
        "50",
        "--verify-per-stratum",
        "10",
    ),
]


def measure(arguments: list[str], home: Path) -> tuple[float, float, str]:
    """Wall seconds, peak memory in MB of the largest process that was started, and the output."""
    environment = {**os.environ, "STAFF_HOME": str(home)}
    peak = 0.0
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "staff_engine", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.append(process.stdout.read()))
    reader.start()
    while process.poll() is None:
        for each in psutil.process_iter(["cmdline", "memory_info"]):
            if str(home) in " ".join(each.info["cmdline"] or ()) and each.info["memory_info"]:
                peak = max(peak, each.info["memory_info"].rss / 1e6)
        time.sleep(0.02 if arguments[0] == "select" else 0.2)
    seconds = time.perf_counter() - start
    reader.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{output[0]}")
    return seconds, peak, output[0]


def make_large_run(home: Path) -> str:
    """A finished run of 100,000 made-up samples with lognormal scores; no model ran for it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = home / "large.jsonl"
    data.write_text("".join(f'{{"prompt":"p{i}","completion":"c"}}\n' for i in range(SAMPLES)))
    os.environ["STAFF_HOME"] = str(home)
    plan = Plan.make(dataset=str(data), small="builtin:llama-nano", target="builtin:llama-mini")
    run = create_run(plan)
    import_dataset(str(data), run.folder / "dataset")
    rng = np.random.default_rng(0)
    scores = rng.lognormal(size=SAMPLES)
    drawn = rng.choice(SAMPLES, 500, replace=False)
    for name, rows, values in (
        ("speculative", np.arange(SAMPLES), scores),
        ("verification", drawn, scores[drawn] * rng.lognormal(sigma=0.3, size=500)),
    ):
        (run.folder / name).mkdir()
        columns = dict.fromkeys(SCORE_COLUMNS, np.ones(len(rows))) | {"effort": values}
        columns |= {key: rows.astype(np.int64) for key in ("row_id", "prompt_tokens", "response_tokens")}
        pq.write_table(pa.table(columns), run.folder / name / "part-00000.parquet")
    write_json(run.folder / "summary.json", {})
    return run.id


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        seconds, memory, _ = measure([*RUN, "--out", str(home / "coreset.jsonl")], home)
        run = next((home / "runs").iterdir())
        summary = json.loads((run / "summary.json").read_text())
        timings = json.loads((run / "timings.json").read_text())
        small = read_parts(run / "speculative", ["seconds"])["seconds"].to_numpy().sum()
        large = make_large_run(home)
        again = [
            "select",
            large,
            "--pruning-rate",
            "0.8",
            "--strata",
            "40",
            "--out",
            str(home / "other.jsonl"),
        ]
        selecting = sorted(measure(again, home)[0] for _ in range(REPEATS))
    facts = {
        **machine.facts("python tests/bench/bench_run.py"),
        "run_seconds": round(seconds, 1),
        "run_peak_mb": round(memory),
        "stages": timings,
        "small_scoring_seconds": round(float(small), 2),
        "summary": summary,
        "select_samples": SAMPLES,
        "select_seconds": [round(value, 2) for value in selecting],
    }
    write_json(ROOT / "docs" / "measured.json", facts)
    page = (Path(__file__).with_name("measured.md")).read_text(encoding="utf-8")
    stages = "\n".join(f"| {name} | {value:.1f} |" for name, value in timings.items())
    text = page.format(**facts, stages_table=stages, median=selecting[len(selecting) // 2])
    (ROOT / "docs" / "measured.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
