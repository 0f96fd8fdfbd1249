"""Write the measured pages again from their JSON files, without measuring.

    python -m benchmarks.pages

Run it after changing the text of a page in its module. It rewrites docs/measured/*.md.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import typer

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "measured"
MODULES = {
    "app": "app",
    "baselines": "baselines",
    "diverse": "diverse",
    "evidence": "evidence.page",
    "evidence_light": "evidence.page",
    "evidence_smollm2": "evidence.page",
    "evidence_steps": "evidence.page",
    "load": "load",
    "inspection": "inspection",
    "overhead": "overhead",
    "processes": "processes",
    "run": "run",
    "scoring": "scoring_page",
    "selection": "selection",
    "similarity": "similarity",
}
"""Name of each measured page → module in benchmarks that makes its text."""


def text_of(name: str) -> str:
    """Text of a measured page, made from its JSON file. Raises KeyError for an unknown name."""
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return importlib.import_module(f"benchmarks.{MODULES[name]}").page(content)


def main() -> None:
    """Write every page."""
    for name in MODULES:
        (FOLDER / f"{name}.md").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
