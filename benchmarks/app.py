"""Measure the response time of the app in a real browser: Select after a change of settings, and Home.

    python -m benchmarks.app

It makes finished runs with simulated rows, opens Select in headless Chromium, changes the strata
and the pruning rate with the arrow keys, and measures the time from the key press to the last
change in any figure. It writes docs/measured/app.json and docs/measured/app.md. `--quick` uses a
few rows and writes nothing. It asserts nothing.
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.machine import facts as machine_facts
from benchmarks.machine import table, written_by
from tests.helpers.driving import PATIENCE, browser, open_page, running_app, settle
from tests.helpers.made_run import make_finished_run

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "docs" / "measured"
ROWS, QUICK_ROWS = (100_000, 1_000_000), (2_000,)
STARTS, MOVES = 3, 12
QUIET = 700  # ms without a change: the page is complete

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
    select = chromium.new_page(viewport={"width": 1440, "height": 2200})
    open_page(select, address)
    select.evaluate(WATCH)
    seconds = {}
    for name in ("Strata (K)", "Pruning rate"):
        move(select, name, "ArrowLeft")  # the first one also loads what is cached later
        seconds[name] = [move(select, name, "ArrowLeft") for _ in range(MOVES)]
    select.close()
    return seconds


def measure_start(chromium) -> float:
    """Seconds from `streamlit run` until the Home page is shown, with an empty STAFF_HOME."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        first = chromium.new_page()
        began = time.perf_counter()
        with running_app(home) as address:
            first.goto(address)
            first.get_by_role("button", name="Try the demo").wait_for(timeout=PATIENCE)
            took = time.perf_counter() - began
            settle(first)
        first.close()
    return took


def measure_run(chromium, count: int) -> dict[str, list[float]]:
    """Seconds of each change on Select, for a finished run with a number of simulated rows."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        os.environ["STAFF_HOME"] = str(home)
        run = make_finished_run(Path(folder), count, strata=50, verify_per_stratum=10)
        with running_app(home) as address:
            return measure_moves(chromium, f"{address}/select?run={run.id}")


def page(content: dict) -> str:
    """The text of the measured page, from the content of its JSON file."""
    rows = [_row("`streamlit run` until the Home page is shown, cold start", content["start_seconds"])]
    rows += [
        _row(f"{name} changed, {int(count):,} rows", seconds)
        for count, moved in content["rows"].items()
        for name, seconds in moved.items()
    ]
    return f"""# Response time of the app

After reading this page, you know how long the app takes to start and to respond to a changed setting.

{written_by(content, "app.json")}

{table(("action", "median", "worst"), rows)}

Response times are measured in headless Chromium, from the key press to the last change in any chart or
figure, with {content["moves"]} changes each. Server and browser run on the same machine. The rows are
simulated.
"""


def _row(what: str, seconds: list[float]) -> tuple[str, ...]:
    return what, f"{statistics.median(seconds):.2f} s", f"{max(seconds):.2f} s"


def main(
    quick: Annotated[bool, typer.Option(help="Use a few rows to test the benchmark. Write nothing.")] = False,
) -> None:
    """Measure, print the page, and write it."""
    content = {**machine_facts("python -m benchmarks.app"), "moves": MOVES}
    with browser() as chromium:
        content["start_seconds"] = [round(measure_start(chromium), 2) for _ in range(1 if quick else STARTS)]
        found = {count: measure_run(chromium, count) for count in (QUICK_ROWS if quick else ROWS)}
    content["rows"] = {
        str(count): {name: [round(each, 3) for each in took] for name, took in moved.items()}
        for count, moved in found.items()
    }
    print(page(content))
    if not quick:
        (MEASURED / "app.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        (MEASURED / "app.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
