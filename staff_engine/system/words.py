"""Format numbers for display: times, sizes, shares and counts. The engine and the pages use these."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

UNKNOWN = "?"
"""Shown for a missing figure."""

MANY = 5
"""Number of items to name from a long list."""

DAY, HOUR, MINUTE = 86_400, 3_600, 60


def duration(seconds: float | None) -> str:
    """Seconds with two units at most: "0.8 s", "42 s", "3 min 05 s", "2 h 03 min"; "?" for None.

    Examples
    --------
    >>> duration(185)
    '3 min 05 s'
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"


def ago(seconds: float) -> str:
    """Elapsed time: "just now", "5 minutes ago", "1 day ago"."""
    for size, one in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= size:
            return f"{counted(int(seconds // size), one)} ago"
    return "just now"


def size_in_words(count: float) -> str:
    """A number of bytes: "312 bytes", "4.2 MB"."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if count >= 100 or unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.0f} GB" if count >= 100 else f"{count:,.1f} GB"


def gigabytes(count: float) -> str:
    """A number of bytes of memory, always in GB: "0.4 GB"."""
    return f"{count / 1e9:,.1f} GB"


def percent(share: float) -> str:
    """A share that people set, without rounding: "90%", "95.5%"."""
    return f"{100 * share:.6g}%"


def saved_share(share: float | None) -> str:
    """A share of time saved: "53%"; "None" if more was spent, "?" if unknown."""
    if share is None:
        return UNKNOWN
    return f"{share:.0%}" if share > 0 else "None"


def number(value: float, digits: int = 2) -> str:
    """A figure with a true minus sign; a dash if it is not finite."""
    if not math.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")  # adding 0 makes -0 a 0


def whole(count: int | None) -> str:
    """A count with commas: "12,000"; "?" for None."""
    return UNKNOWN if count is None else f"{count:,}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count of things: "1 sample", "12,000 samples"."""
    return f"{count:,} {noun(count, one, many)}"


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts names as people do: the numbers in them as numbers, "part-2" before "part-10"."""
    parts = re.split(r"(\d+)", text)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def noun(count: int, one: str, many: str | None = None) -> str:
    """Singular or plural of a noun: "stratum" for 1, else "strata"; the default plural adds an s."""
    return one if count == 1 else many or f"{one}s"


def millions(count: int) -> str:
    """A large count: "135 million", "1.7 billion"."""
    return f"{count / 1e9:.1f} billion" if count >= 1e9 else f"{count / 1e6:.3g} million"


def listed(names: Sequence[str]) -> str:
    """All names: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def first_few(names: Iterable[str], most: int = MANY) -> str:
    """The first of many names: "a, b, c, d, e …"."""
    every = list(names)
    return ", ".join(every[:most]) + (" …" if len(every) > most else "")
