"""Measure twenty people who use one app while a run works: pages a second, waits, memory, the run's speed.

    python -m benchmarks.load

It makes a finished run with simulated rows, starts the app and another run, and opens sessions over
websockets, as browsers do: they move the sliders of Select and change the page, first without a pause, then
with 2 s between two moves. A page is answered when its script has ended. It writes
docs/measured/load.json and docs/measured/load.md. `--quick` uses a few rows and seconds and writes
nothing. It asserts nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer

from benchmarks.machine import facts as machine_facts
from benchmarks.machine import table, written_by
from benchmarks.session import Session
from staff_engine.plan import Plan
from staff_engine.runs.control import Run, cancel, create_run, read_status, start
from tests.helpers.driving import running_app
from tests.helpers.made_run import make_finished_run

MEASURED = Path(__file__).resolve().parents[1] / "docs" / "measured"
ROWS, PEOPLE, SECONDS, THINK, MOVES = 100_000, 20, 90, 2.0, 12
GIVEN_BACK_SECONDS = 150
"""Streamlit keeps a session that left for two minutes, so that it can come back."""

PAGES = ("select", "scores", "samples", "compare", "select", "")
STRATA, RATES = range(40, 61), tuple(each / 100 for each in range(80, 96))


async def person(address: str, run: str, number: int, think: float, until: float, waits: list[float]) -> int:
    """Use the app until a moment; adds the seconds of each answer, and returns the number of errors."""
    rng = random.Random(number)
    async with Session(address) as session:
        await session.open("select", f"run={run}")
        while time.monotonic() < until:
            if rng.random() < 0.5:
                name, values = rng.choice((("Strata (K)", STRATA), ("Pruning rate", RATES)))
                if session.page != "select":
                    waits.append(await session.open("select", f"run={run}"))
                waits.append(await session.move(name, rng.choice(values)))
            else:
                settings = f"strata={rng.choice(STRATA)}&pruning_rate={rng.choice(RATES)}"
                waits.append(await session.open(rng.choice(PAGES), f"run={run}&{settings}"))
            await asyncio.sleep(think)
        return session.errors


async def crowd(address: str, run: str, people: int, think: float, seconds: float) -> dict[str, float]:
    """Figures of many people who use the app at once."""
    waits: list[float] = []
    began = time.monotonic()
    each = (person(address, run, number, think, began + seconds, waits) for number in range(people))
    errors = await asyncio.gather(*each)
    took = time.monotonic() - began
    return {
        "pages": len(waits), "pages_per_second": len(waits) / took, "median": statistics.median(waits),
        "p95": float(np.quantile(waits, 0.95)), "worst": max(waits), "errors": sum(errors),
    }  # fmt: skip


async def alone(address: str, run: str) -> dict[str, list[float]]:
    """Seconds of the first page of one person, and of each move of a slider."""
    async with Session(address) as session:
        first = [await session.open("select", f"run={run}")]
        await session.move("Strata (K)", STRATA[0])
        strata = [await session.move("Strata (K)", value) for value in STRATA[1 : MOVES + 1]]
        rates = [await session.move("Pruning rate", value) for value in RATES[:MOVES]]
    return {"first page": first, "Strata (K)": strata, "Pruning rate": rates}


def working_run() -> Run:
    """A run that fine-tunes for longer than the measurement takes."""
    run = create_run(
        Plan.make(
            dataset="builtin:docstrings", small="builtin:llama-nano", target="builtin:llama-mini", epochs=50
        )
    )
    start(run)
    while read_status(run).stage != "fine-tune" or not read_status(run).done:
        time.sleep(0.2)
    return run


def speed(run: Run, seconds: float) -> float:
    """Steps a second of a run, over some seconds."""
    before, began = read_status(run).done, time.monotonic()
    time.sleep(seconds)
    return (read_status(run).done - before) / (time.monotonic() - began)


def memory(process: psutil.Process) -> int:
    """Resident memory of the app in MB."""
    return round(process.memory_info().rss / 1e6)


def server_of(address: str) -> psutil.Process:
    """The process that listens at an address."""
    port = int(address.rpartition(":")[2])
    for process in psutil.Process().children(recursive=True):
        if any(each.laddr.port == port and each.status == "LISTEN" for each in process.net_connections()):
            return process
    raise RuntimeError(f"nothing listens at {address}")


async def busy(address: str, run: str, work: Run, people: int, think: float, seconds: float) -> dict:
    """Figures of many people, and those of the app and the other run meanwhile."""
    app = server_of(address)
    before, begun = read_status(work).done, time.monotonic()
    crowded = asyncio.create_task(crowd(address, run, people, think, seconds))
    await asyncio.sleep(seconds * 2 / 3)
    middle = memory(app)
    figures = await crowded
    steps = (read_status(work).done - before) / (time.monotonic() - begun)
    return {
        **figures,
        "memory_at_two_thirds": middle,
        "memory_at_end": memory(app),
        "steps_per_second": steps,
    }


def measure(rows: int, people: int, seconds: float, rest: float) -> dict:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        os.environ["STAFF_HOME"] = str(home)
        run = make_finished_run(Path(folder), rows, strata=50, verify_per_stratum=10).id
        with running_app(home) as address:
            found: dict = {"memory_before": memory(server_of(address))}
            found["alone"] = asyncio.run(alone(address, run))
            work = working_run()
            try:
                found["steps_alone"] = speed(work, seconds / 3)
                for name, think in (("no_pause", 0.0), ("thinking", THINK)):
                    found[name] = asyncio.run(busy(address, run, work, people, think, seconds))
                time.sleep(rest)
                asyncio.run(alone(address, run))  # sessions that are over are removed when another one comes
                found["memory_after"] = memory(server_of(address))
            finally:
                cancel(work)
    return found


def page(content: dict) -> str:
    """The text of the measured page, from the content of its JSON file."""
    found = content["found"]
    crowds = {"without a pause": found["no_pause"], f"{THINK:.0f} s between moves": found["thinking"]}
    rows = [
        (
            title, f"{each['pages_per_second']:.1f}", f"{each['median']:.2f} s", f"{each['p95']:.2f} s",
            f"{each['worst']:.1f} s", str(each["errors"]),
            f"{each['steps_per_second'] / found['steps_alone']:.2f}",
            f"{each['memory_at_two_thirds']} MB, {each['memory_at_end']} MB",
        )
        for title, each in crowds.items()
    ]  # fmt: skip
    heading = (
        "people", "pages a second", "median", "p95", "worst", "errors", "speed of the run",
        "memory after 2/3, at the end",
    )  # fmt: skip
    single = [
        (name, f"{statistics.median(seconds):.2f} s", f"{max(seconds):.2f} s")
        for name, seconds in found["alone"].items()
    ]
    return f"""# Many people on one app

After reading this page, you know how the app responds when {content["people"]} people use it while a run
works.

{written_by(content, "load.json")} {content["note"]}

{table(heading, rows)}

Each person opens Select of a run with {content["rows"]:,} simulated rows, moves its sliders and changes the
page, at random, for {content["seconds"]} s. The speed of the run that works meanwhile (steps of fine-tuning a
second) is relative to its speed alone. The app had {found["memory_before"]} MB before, and
{found["memory_after"]} MB after all people had left.

One person alone, before:

{table(("action", "median", "worst"), single)}

The sessions are websockets without a browser: a page is answered when its script has ended on the server.
The clients run on the same machine.
"""


def main(
    quick: Annotated[bool, typer.Option(help="Use a few rows and seconds. Write nothing.")] = False,
    note: Annotated[str, typer.Option(help="A sentence about the machine, for the page.")] = "",
) -> None:
    """Measure, print the page, and write it."""
    rows, people, seconds, rest = (2_000, 3, 6, 0) if quick else (ROWS, PEOPLE, SECONDS, GIVEN_BACK_SECONDS)
    content = {
        **machine_facts("python -m benchmarks.load"), "note": note, "rows": rows, "people": people,
        "seconds": seconds, "found": measure(rows, people, seconds, rest),
    }  # fmt: skip
    print(page(content))
    if not quick:
        (MEASURED / "load.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        (MEASURED / "load.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
