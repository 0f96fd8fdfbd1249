"""A plan as the command line that does the same, to copy."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from staff_engine.options import PROGRAM
from staff_engine.plan import Plan

FIRST = ("dataset", "small", "target")


def run_command(plan: Plan, *, name: str = "") -> str:
    """The command that starts a run of a plan: what differs from the defaults, quoted for a shell."""
    defaults = {field: info.default for field, info in Plan.model_fields.items()}
    settings = plan.model_dump()
    given = {field: settings[field] for field in FIRST}
    given |= {
        field: value for field, value in settings.items() if field not in FIRST and value != defaults[field]
    }
    if name:
        given["name"] = name
    return f"{PROGRAM} run{options(given)}"


def options(settings: Mapping[str, Any]) -> str:
    """Settings as options, each on a line of its own."""
    lines = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in settings.items()]
    return "".join(f" \\\n    {line}" for line in lines)
