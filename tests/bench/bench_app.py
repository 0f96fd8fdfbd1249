"""How fast the app answers, in a real browser: Select's figures as settings move, and the first page.

    python tests/bench/bench_app.py [--rows 100000 --rows 1000000] [--write]

It makes finished runs of that many made-up rows, opens Select in headless Chromium, moves the
strata and the pruning rate by the arrow keys, and takes the time from the key press to the
last change in any figure. `--write` keeps the table in docs/app_measured.json and .md.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "browser"), str(TESTS / "bench")]

import machine  # noqa: E402
from driving import PATIENCE, browser, open_page, running_app, settle  # noqa: E402
from made_run import make_finished_run  # noqa: E402

DOCS = TESTS.parent / "docs"
MOVES = 12
QUIET = 700  # ms without a change: the answer is complete

WATCH = """
() => {
  window.pressed = 0; window.changed = 0;
  document.addEventListener('keydown', () => { window.pressed = performance.now(); }, true);
  new MutationObserver(found => {
    const shown = found.some(each => {
      const at = each.target.nodeType === 1 ? each.target : each.target.parentElement;
      return at && at.closest('[data-testid=stPlotlyChart], [data-testid=stMetric]');
    });
    if (shown) window.changed = performance.now();
  }).observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
}
"""
ANSWERED = f"() => window.changed > window.pressed && performance.now() - window.changed > {QUIET}"


def move(page, name: str, key: str) -> float:
    """Seconds from the key press to the last change in a figure."""
    slider = page.get_by_role("slider", name=name)
    slider.focus()
    slider.press(key)
    page.wait_for_function(ANSWERED, timeout=PATIENCE)
    return page.evaluate("() => window.changed - window.pressed") / 1000


def measure_moves(chromium, address: str) -> dict[str, list[float]]:
    page = chromium.new_page(viewport={"width": 1440, "height": 2200})
    open_page(page, address)
    page.evaluate(WATCH)
    seconds = {}
    for name in ("Strata (K)", "Pruning rate"):
        move(page, name, "ArrowLeft")  # the first loads what is loaded once
        seconds[name] = [move(page, name, "ArrowLeft") for _ in range(MOVES)]
    page.close()
    return seconds


def measure_start(chromium) -> float:
    """Seconds from `streamlit run` until the Home page stands, with an empty home."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        page = chromium.new_page()
        began = time.perf_counter()
        with running_app(home) as address:
            page.goto(address)
            page.get_by_role("button", name="Try the demo").wait_for(timeout=PATIENCE)
            took = time.perf_counter() - began
            settle(page)
        page.close()
    return took


def main(
    rows: Annotated[list[int] | None, typer.Option(help="Rows of a made-up run.")] = None,
    write: Annotated[bool, typer.Option(help="Keep the table in docs/.")] = False,
) -> None:
    facts = {**machine.facts("python tests/bench/bench_app.py --write"), "moves": MOVES}
    with browser() as chromium:
        facts["start_seconds"] = [round(measure_start(chromium), 2) for _ in range(3)]
        for count in rows or [100_000, 1_000_000]:
            with tempfile.TemporaryDirectory() as folder:
                home = Path(folder) / "home"
                home.mkdir()
                os.environ["STAFF_HOME"] = str(home)
                run = make_finished_run(Path(folder), count, strata=50, verify_per_stratum=10)
                with running_app(home) as address:
                    found = measure_moves(chromium, f"{address}/select?run={run.id}")
            facts[f"{count}"] = {name: [round(each, 3) for each in took] for name, took in found.items()}
    print(table(facts))
    if write:
        (DOCS / "app_measured.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (DOCS / "app_measured.md").write_text(page_of(facts), encoding="utf-8")


def row(what: str, seconds: list[float]) -> str:
    return f"| {what} | {statistics.median(seconds):.2f} s | {max(seconds):.2f} s |"


def table(facts: dict) -> str:
    lines = ["| what | median | worst |", "|---|---|---|"]
    lines.append(row("from `streamlit run` to the Home page", facts["start_seconds"]))
    for count, found in facts.items():
        if count.isdecimal():
            for name, took in found.items():
                lines.append(row(f"{name} moved, {int(count):,} rows", took))
    return "\n".join(lines)


def page_of(facts: dict) -> str:
    return f"""# How fast the app answers

{table(facts)}

Taken in headless Chromium from the key press to the last change in any figure, {facts["moves"]} moves
each, on {facts["machine"]}, which runs server and browser. The rows are made up. Written by
`python tests/bench/bench_app.py --write`; the numbers are in [app_measured.json](app_measured.json).
"""


if __name__ == "__main__":
    typer.run(main)
