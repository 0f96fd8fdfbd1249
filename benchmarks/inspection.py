"""Measure the check of a large data set with all its parts: time and peak memory of `inspect`.

    python -m benchmarks.inspection

It makes a JSON-lines file with repeated, nearly repeated, broken and held-out rows, inspects it in a new
process, once plainly and once with near duplicates and held-out data, and writes
docs/measured/inspection.json and docs/measured/inspection.md. `--quick` uses few rows and writes nothing.
It asserts nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.machine import facts, table, written_by
from staff_engine.cli.main import main as command_line
from staff_engine.system.files import write_json
from staff_engine.system.memory import peak_memory

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "docs" / "measured"
ROWS, QUICK_ROWS = 1_000_000, 2_000
HELD_OUT = 1_000
GOAL = 400  # MB
SEED = 0

SHARES = {"equal to an earlier row": 0.02, "like an earlier row": 0.03, "held out": 0.001, "broken": 0.001}
"""Parts of the rows that are no new sample."""

WORDS = 30_000
PROMPT, RESPONSE = 30, 60
"""Median words; the numbers are lognormal."""

PARTS = {"plain": (), "all checks": ("--duplicates", "near", "--apart-from")}
"""Name of each measurement → options; the last one takes the held-out file."""


class Writer:
    """Makes rows from words whose frequencies follow Zipf's law."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(SEED)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        sizes = self.rng.integers(2, 11, WORDS)
        self.words = ["".join(self.rng.choice(letters, size)) for size in sizes]
        weights = 1 / np.arange(1, WORDS + 1)
        self.steps = np.cumsum(weights) / weights.sum()

    def words_like(self, median: int) -> list[str]:
        """The words of a text."""
        count = max(3, int(median * self.rng.lognormal(sigma=0.5)))
        return [self.words[i] for i in np.searchsorted(self.steps, self.rng.random(count)).tolist()]

    def row(self) -> tuple[list[str], list[str]]:
        """The words of a prompt and its response."""
        return self.words_like(PROMPT), self.words_like(RESPONSE)

    def with_another_word(self, row: tuple[list[str], list[str]]) -> tuple[list[str], list[str]]:
        """The same row, with one word of the response replaced."""
        response = list(row[1])
        response[int(self.rng.integers(len(response)))] = self.words[int(self.rng.integers(WORDS))]
        return row[0], response


def text_of(row: tuple[list[str], list[str]]) -> str:
    """A row as a line of the file."""
    return json.dumps({"prompt": " ".join(row[0]), "response": " ".join(row[1])})


def lines(writer: Writer, held_out: list[tuple[list[str], list[str]]], count: int) -> Iterator[str]:
    """The lines of the file."""
    kinds = writer.rng.choice(len(SHARES) + 1, count, p=[*SHARES.values(), 1 - sum(SHARES.values())])
    kept: list[tuple[list[str], list[str]]] = [writer.row()]
    for kind in kinds.tolist():
        old = kept[int(writer.rng.integers(len(kept)))]
        if kind == 0:
            yield text_of(old)
        elif kind == 1:
            yield text_of(writer.with_another_word(old))
        elif kind == 2:
            yield text_of(held_out[int(writer.rng.integers(len(held_out)))])
        elif kind == 3:
            yield text_of(old)[:-3]
        else:
            row = writer.row()
            kept[int(writer.rng.integers(len(kept)))] = row
            if len(kept) < 10_000:
                kept.append(row)
            yield text_of(row)


def make_files(folder: Path, count: int) -> tuple[Path, Path]:
    """Write the data and the held-out samples."""
    writer = Writer()
    held_out = [writer.row() for _ in range(HELD_OUT)]
    data, apart = folder / "data.jsonl", folder / "held-out.jsonl"
    apart.write_text("".join(f"{text_of(row)}\n" for row in held_out), encoding="utf-8")
    with data.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines(writer, held_out, count))
    return data, apart


def measure(data: Path, apart: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """Inspect the data in a new process."""
    words = ["--dataset", str(data), *options, *([str(apart)] if options else []), "--json"]
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.inspection", "--inspect", json.dumps(words)],
            capture_output=True, text=True, check=True, env={**os.environ, "STAFF_HOME": home},
        )  # fmt: skip
        seconds = time.perf_counter() - began
    found = json.loads(done.stdout)
    return {
        "seconds": round(seconds, 1),
        "peak_mb": round(int(done.stderr.split()[-1]) / 1e6, 1),
        **{name: found[name] for name in ("rows", "usable", "reasons")},
    }


def page(content: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    parts = content["parts"]
    times = [
        (name, f"{found['seconds']:,.0f} s", f"{found['peak_mb']:,.0f} MB", f"{found['usable']:,}")
        for name, found in parts.items()
    ]
    reasons = [(reason, f"{count:,}") for reason, count in parts["all checks"]["reasons"].items()]
    shares = ", ".join(f"{share:.1%} {name}" for name, share in SHARES.items())
    return f"""# Check of a large data set

After reading this page, you know how long `inspect` takes for {parts["plain"]["rows"]:,} rows, and how much
memory it needs.

{written_by(content, "inspection.json")}

The file has {content["megabytes"]:,} MB of JSON lines with simulated text: words that follow Zipf's law, a
median of {PROMPT} in a prompt and {RESPONSE} in a response.
Some rows repeat others or cannot be read: {shares}.

*All checks* adds `--duplicates near` and `--apart-from` a file of {HELD_OUT:,} samples.

{table(("inspect", "time", "peak memory", "usable rows"), times)}

The goal is less than {GOAL} MB with all checks. What they leave out:

{table(("reason", "rows"), reasons)}
"""


def main(
    quick: Annotated[bool, typer.Option(help="Use few rows. Write nothing.")] = False,
    inspect: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure, print the page, and write it."""
    if inspect:
        code = command_line(["inspect", *json.loads(inspect)])
        print(peak_memory(), file=sys.stderr)
        raise typer.Exit(code)
    with tempfile.TemporaryDirectory() as made:
        data, apart = make_files(Path(made), QUICK_ROWS if quick else ROWS)
        content = {
            **facts("python -m benchmarks.inspection"),
            "megabytes": round(data.stat().st_size / 1e6),
            "parts": {name: measure(data, apart, options) for name, options in PARTS.items()},
        }
    print(page(content))
    if not quick:
        write_json(MEASURED / "inspection.json", content)
        (MEASURED / "inspection.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
