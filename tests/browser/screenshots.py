"""Pictures of every page, light and dark, wide and narrow.

    pip install -r tests/requirements.txt
    python -m tests.browser.screenshots --out screenshots

It runs the demo and a similarity run of the built-in models in a home of its own, so that the
pictures show real runs, and takes some minutes. `--home` takes the newest runs of a home
that is there already; `--readme` writes the four pictures of the README to assets/screenshots.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Browser, Page

from staff_engine.runs.folders import Run, kind_of
from tests.helpers.driving import PROJECT, browser, open_page, running_app, settle

PAGES = {
    "home": "?run={run}",
    "data": "data",
    "run": "run?run={run}",
    "new-run": "run",
    "scores": "scores?run={run}",
    "select": "select?run={run}",
    "samples": "samples?run={run}",
    "sample": "samples?run={run}&row=12",
    "map": "samples?run={run}&samples_view=map",
    "compare": "compare?run={run}&pruning_rate=0.8",
    "compare-methods": "compare?run={run}&compare_view=methods",
    "compare-evaluation": "compare?run={run}&compare_view=evaluation",
    "export": "export?run={run}",
    "family": "family",
}
README_PAGES = {"home": "light", "select": "light", "scores": "dark", "sample": "light"}
TALLEST = 4000  # px


def make_demo(home: Path) -> None:
    """Run the demo's plan to its end."""
    code = (
        "from staff_engine.pipelines import demo\n"
        "from staff_engine.cli.watch import watch\n"
        "watch(demo.start_demo())\n"
    )
    environment = {**os.environ, "STAFF_HOME": str(home)}
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, check=True)


def make_similarity(home: Path) -> None:
    """Compare the built-in models on a few samples."""
    command = [sys.executable, "-m", "staff_engine", "similarity", "--dataset", "builtin:docstrings"]
    few = ["--limit", "60", "--sample", "40", "--epochs", "1", "--tune-target", "10"]
    roles = (("small", "nano"), ("target", "mini"))
    folders = sorted((PROJECT / "assets" / "models").glob("*/"))
    models = [
        f"--{role}=builtin:{folder.name}"
        for role, size in roles
        for folder in folders
        if folder.name.endswith(size)
    ]
    environment = {**os.environ, "STAFF_HOME": str(home)}
    subprocess.run([*command, *models, *few], cwd=PROJECT, env=environment, check=True)


def newest_run(home: Path) -> str:
    """The id of the newest run of a home that selects a coreset."""
    runs = (Run(path.parent.name, path.parent) for path in home.glob("runs/*/plan.json"))
    return max(run.id for run in runs if kind_of(run) == "coreset")


def show(page: Page, address: str, tallest: int) -> None:
    """Open an address; the window then becomes as tall as the page."""
    width = page.viewport_size["width"]
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, address)
    tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": max(900, min(int(tall), tallest))})
    settle(page)
    page.wait_for_timeout(600)  # figures slide to their new size


def take(
    chromium: Browser, address: str, out: Path, name: str, *, scheme: str, width: int, tallest: int
) -> None:
    """Write one picture."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    show(page, address, tallest)
    page.screenshot(path=str(out / name))
    context.close()


def main(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("screenshots"),
    home: Annotated[Path | None, typer.Option(help="A STAFF_HOME with a finished run.")] = None,
    readme: Annotated[bool, typer.Option(help="Only the README's pictures.")] = False,
) -> None:
    with ExitStack() as stack:
        if home is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "home"
            home.mkdir()
            make_demo(home)
            make_similarity(home)
        run = newest_run(home)
        address = stack.enter_context(running_app(home))
        chromium = stack.enter_context(browser())
        shots = [
            (f"{name}-{scheme}-{width}.png", name, scheme, width)
            for name in PAGES
            for scheme in ("light", "dark")
            for width in (1440, 800)
        ]
        if readme:
            out = PROJECT / "assets" / "screenshots"
            shots = [(f"{name}.png", name, scheme, 1200) for name, scheme in README_PAGES.items()]
        out.mkdir(parents=True, exist_ok=True)
        for file, name, scheme, width in shots:
            at = f"{address}/{PAGES[name].format(run=run)}"
            take(
                chromium, at, out, file,
                scheme=scheme, width=width, tallest=1000 if readme else TALLEST,
            )  # fmt: skip
            typer.echo(out / file)


if __name__ == "__main__":
    typer.run(main)
