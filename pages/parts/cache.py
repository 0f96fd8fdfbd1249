"""Values that all sessions share, in a bounded number of bytes; each is computed once, whoever asks for it.

Streamlit's own caches are bounded by a number of entries, and an entry of a run with 10⁶ rows is a thousand
times as large as one of a run with 10³.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import wraps
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeVar

import numpy as np
import streamlit as st

from staff_engine.system.memory import give_back

Given = ParamSpec("Given")
Made = TypeVar("Made")

MOST_MB = 256
VARIABLE = "STAFF_CACHE_MB"
"""Environment variable: megabytes that the cache may hold; `MOST_MB` if it is not set."""

IDLE_SECONDS = 60.0
"""What nobody has asked for in this time is removed."""

OWN_PACKAGE = "staff_engine"
"""Objects of this package are measured by their fields, others by their arrays' bytes only."""


@dataclass(eq=False)
class _Entry:
    lock: Lock = field(default_factory=Lock)
    value: Any = None
    made: bool = False
    bytes: int = 0
    used: float = field(default_factory=time.monotonic)


_entries: dict[Hashable, _Entry] = {}
"""By function and arguments; the one that was used last is the last one."""

_lock = Lock()


def shared(spinner: str | None = None) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Cache a function's values for all sessions; arguments whose names begin with `_` are not in the key.

    Sessions that ask for the same value at once wait for the first of them.

    Parameters
    ----------
    spinner
        Shown while a value is computed; nothing if None.
    """

    def decorate(function: Callable[Given, Made]) -> Callable[Given, Made]:
        signature = inspect.signature(function)

        @wraps(function)
        def cached(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            bound = signature.bind(*args, **kwargs).arguments
            chosen = tuple(value for name, value in bound.items() if not name.startswith("_"))
            return _get((function, chosen), lambda: function(*args, **kwargs), spinner)

        return cached

    return decorate


def _get(key: Hashable, make: Callable[[], Made], spinner: str | None) -> Made:
    with _lock:
        entry = _entries.pop(key, None) or _Entry()
        entry.used = time.monotonic()
        _entries[key] = entry
    with entry.lock:
        if entry.made:
            return entry.value
        try:
            with st.spinner(spinner) if spinner else nullcontext():
                entry.value = make()
            entry.bytes = bytes_of(entry.value)
            entry.made = True
        finally:
            if not entry.made:  # whoever waits for it tries again
                _entries.pop(key, None)
    _keep_within_bound()
    return entry.value


def _keep_within_bound() -> None:
    """Remove what was not used for the longest time, until the rest is within the bound."""
    most = int(os.environ.get(VARIABLE) or MOST_MB) * 1_000_000
    with _lock:
        total = sum(entry.bytes for entry in _entries.values())
        for key in [key for key, entry in _entries.items() if entry.made][:-1]:
            if total <= most:
                break
            total -= _entries.pop(key).bytes


def bytes_of(value: Any, seen: set[int] | None = None) -> int:
    """Bytes of the arrays and tables in a value, each counted once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return bytes_of(value.base, seen) if isinstance(value.base, np.ndarray) else value.nbytes
    if isinstance(value, dict):
        return sum(bytes_of(each, seen) for each in list(value.values()))
    if isinstance(value, tuple):
        return sum(bytes_of(each, seen) for each in value)
    if type(value).__module__.partition(".")[0] == OWN_PACKAGE:
        return bytes_of(getattr(value, "__dict__", {}), seen)
    if hasattr(value, "memory_usage"):  # a data frame
        return int(np.sum(value.memory_usage()))
    return 0


def forget(idle: float = 0.0) -> int:
    """Remove what was not used for some seconds; returns how many values were removed."""
    now = time.monotonic()
    with _lock:
        old = [key for key, entry in _entries.items() if entry.made and now - entry.used >= idle]
        for key in old:
            del _entries[key]
    return len(old)


def measure_again() -> None:
    """Measure the values again: the results of a run grow while they are used."""
    for entry in list(_entries.values()):
        entry.bytes = bytes_of(entry.value)
    _keep_within_bound()


def tidy(seconds: float = IDLE_SECONDS / 2) -> None:
    """Remove idle values and collect garbage from time to time, in a thread of its own.

    Streamlit would collect garbage after every page, which takes a fifth of its time.
    """

    def work() -> None:
        while True:
            time.sleep(seconds)
            measure_again()
            forget(IDLE_SECONDS)
            give_back()

    Thread(target=work, name="tidy", daemon=True).start()
