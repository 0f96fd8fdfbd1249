"""What the commands print: text of files, models and people never acts on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from staff_engine.system.words import printable

if TYPE_CHECKING:
    from rich.console import Console


def say(text: str, *, err: bool = False) -> None:
    """Print a text with its control characters spelled out; with `err` on standard error."""
    typer.echo(printable(text), err=err)


def confirm(question: str) -> bool:
    """Ask a question that is answered with yes or no."""
    return typer.confirm(printable(question))


def console(*, stderr: bool = False) -> Console:
    """A console that spells out control characters. Text that is not ours must be escaped for rich."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Plain(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=printable(segment.text))

    return Plain(stderr=stderr, emoji=False)
