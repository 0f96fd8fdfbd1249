"""What a benchmark says of where and when it ran."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil


def facts(command: str, *, seed: int = 0) -> dict:
    """The command, the date, the machine, Python's version and the seed."""
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {psutil.virtual_memory().total / 2**30:.0f} GB",
        "python": platform.python_version(),
        "seed": seed,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )
