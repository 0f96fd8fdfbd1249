"""Measure the memory of this process, and return unused memory to the system."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path
from typing import Any


def peak_memory() -> int:
    """Peak memory in bytes: of the graphics cards if they were used, else of this process."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_reserved():
        return sum(torch.cuda.max_memory_reserved(card) for card in range(torch.cuda.device_count()))
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would include the process that started this one
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    import psutil

    memory = psutil.Process().memory_info()  # type: ignore[no-untyped-call]
    return int(getattr(memory, "peak_wset", memory.rss))


def give_back() -> None:
    """Return freed memory to the system; glibc keeps it after batches of many sizes."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)
