"""The output of `select`, printed without importing the library for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

HINT = " (use --out FILE to write them)"


def print_selected(answer: Mapping[str, Any], verify: str, seconds: float) -> None:
    """Print what was selected.

    Parameters
    ----------
    answer
        coreset_size, near_duplicates, response_tokens, warnings, to_verify, and places if it was written.
    verify, seconds
        The command that verifies the missing samples, and its estimated time; 0 if unknown.
    """
    where = f" and written to {' and '.join(answer['places'])}" if "places" in answer else HINT
    typer.echo(f"{answer['coreset_size']:,} samples selected{where}")
    if answer["near_duplicates"]:
        typer.echo(f"{answer['near_duplicates']:,} near duplicates are left out")
    typer.echo(answer["response_tokens"])
    for warning in answer["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    if answer["to_verify"]:
        took = f", about {seconds:.0f} s" if seconds else ""
        missing = f"{answer['to_verify']:,} more to verify on the target{took}"
        typer.echo(f"provisional: {missing}: {verify}", err=True)
