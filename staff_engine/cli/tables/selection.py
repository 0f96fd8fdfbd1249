"""The output of `select`, printed without importing the library for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staff_engine.cli.terminal import say


def print_selected(answer: Mapping[str, Any], verify: str, seconds: float) -> None:
    """Print what was selected.

    Parameters
    ----------
    answer
        coreset_size, response_tokens, warnings, to_verify, and out if it was written.
    verify, seconds
        The command that verifies the missing samples, and its estimated time; 0 if unknown.
    """
    where = f" and written to {answer['out']}" if "out" in answer else " (use --out FILE to write them)"
    say(f"{answer['coreset_size']:,} samples selected{where}")
    say(answer["response_tokens"])
    for warning in answer["warnings"]:
        say(f"warning: {warning}", err=True)
    if answer["to_verify"]:
        took = f", about {seconds:.0f} s" if seconds else ""
        missing = f"{answer['to_verify']:,} more to verify on the target{took}"
        say(f"provisional: {missing}: {verify}", err=True)
