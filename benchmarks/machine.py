"""What every measured page reports about its machine and date."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil


def machine() -> str:
    """The machine in a few words: cores, processor, memory."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {_processor()}, {memory:.0f} GB"


def threads() -> str:
    """Number of threads that NumPy's linear algebra may use, in words."""
    count = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count())
    return f"{count} thread" + ("" if count == "1" else "s")


def facts(command: str) -> dict[str, str]:
    """Command, date, machine and Python: the head of a measured file."""
    return {
        "command": command,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "python": platform.python_version(),
    }


def written_by(content: dict[str, str], file: str) -> str:
    """The sentence that says how and when a measured page was measured."""
    return (
        f"Measured with `{content['command']}` on {content['date']}: {content['machine']}, Python"
        f" {content['python']}. The values are in [{file}]({file})."
    )


def table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    rule = ("---", *("---:" for _ in heading[1:]))
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *rows))


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
