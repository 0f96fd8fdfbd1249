"""What several commands take and do: which run, what to print, whether to wait."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from staff_engine.runs import control
from staff_engine.runs.folders import Run
from staff_engine.runs.kinds import Kind

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, a beginning of it, its name, its folder, or latest (that the command takes).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the run works on in the background.")]


def scored(run: str) -> Run:
    """The run of a name; RunError where it has not all scores."""
    return control.require_scores(control.find_run(run, kind=Kind.CORESET))


def see_through(found: Run, detach: bool = False, cancels: bool = True) -> None:
    """Show a run to its end, or say how to watch it."""
    from staff_engine.cli.watch import leave, watch

    if detach:
        leave(found)
    else:
        watch(found, cancels=cancels)


def say_json(content: Any) -> None:
    """Print it as JSON."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
