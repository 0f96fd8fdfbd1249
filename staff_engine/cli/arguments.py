"""Arguments and steps that several commands share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from staff_engine.runs import control
from staff_engine.runs.folders import Run
from staff_engine.runs.kinds import Kind
from staff_engine.system.words import UNPRINTABLE

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, the start of its id, its name, its folder, or latest"
        " (the latest run that fits the command).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NewName = Annotated[
    str | None, typer.Option(help="Name of the run. Default: from data set and model.", metavar="TEXT")
]
Processes = Annotated[
    int | None,
    typer.Option(
        help="Processes that do the run together, each on a GPU of its own. Default: as planned.",
        metavar="N",
        min=1,
        max=1024,
        show_default=False,
    ),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Return immediately; the run continues in the background.")
]


def in_words(error: typer.TyperException) -> str:
    """What is wrong with a command. If it has an argument too many, also where the data belongs."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    extra = re.fullmatch(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", message)
    if extra is None or context is None:
        return message
    takes_data = any(parameter.name == "dataset" for parameter in context.command.params)
    advice = "give the data with --dataset" if takes_data else f"see {context.command_path} --help"
    return f"unexpected argument {extra[1]!r}; {advice}"


def scored(run: str) -> Run:
    """Find a run by its name. Raises RunError if it does not have all scores."""
    return control.require_scores(control.find_run(run, kind=Kind.CORESET))


def settle(runs: Iterable[Run]) -> None:
    """Wait until it is certain which runs on other hosts still work. A terminal shows that it waits."""
    from staff_engine.cli.terminal import console

    foreign = control.runs_elsewhere(runs)
    if foreign:
        with console(stderr=True).status("looking for signs of life on other hosts"):
            control.settle(foreign)


def see_through(found: Run, detach: bool = False, cancels: bool = True) -> None:
    """Show a run's progress until it ends, or print how to watch it."""
    from staff_engine.cli.watch import leave, watch

    if detach:
        leave(found)
    else:
        watch(found, cancels=cancels)


def say_json(content: Any) -> None:
    """Print a value as JSON."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    typer.echo(UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))
