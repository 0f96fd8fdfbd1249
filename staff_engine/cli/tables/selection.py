"""The output of `select`, printed without importing the library for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staff_engine.cli.terminal import say
from staff_engine.system.words import counted

HINT = " (use --out FILE to write them)"


def print_selected(answer: Mapping[str, Any], verify: str, seconds: float) -> None:
    """Print what was selected.

    Parameters
    ----------
    answer
        coreset_size, near_duplicates, response_tokens, kinds, price, warnings, to_verify, and places if it
        was written.
    verify, seconds
        The command that verifies the missing samples, and its estimated time; 0 if unknown.
    """
    where = f" and written to {' and '.join(answer['places'])}" if "places" in answer else HINT
    say(f"{answer['coreset_size']:,} samples selected{where}")
    if answer["near_duplicates"]:
        say(f"{counted(answer['near_duplicates'], 'near duplicate is', 'near duplicates are')} left out")
    say(answer["response_tokens"])
    if answer["kinds"]:
        say(answer["kinds"])
    say(answer["price"])
    for warning in answer["warnings"]:
        say(f"warning: {warning}", err=True)
    if answer["to_verify"]:
        took = f", about {seconds:.0f} s" if seconds else ""
        missing = f"{answer['to_verify']:,} more to verify on the target{took}"
        say(f"provisional: {missing}: {verify}", err=True)
