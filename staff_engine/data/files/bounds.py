"""Bounds on what one file may need: they protect memory and disk from damaged and malicious files."""

from __future__ import annotations

import os
import re

from staff_engine.errors import DatasetError
from staff_engine.system.words import size_in_words

VALUE_SETTING = "STAFF_MAX_VALUE"
"""Environment variable: maximum size of one line and of one value."""

UNPACKED_SETTING = "STAFF_MAX_UNPACKED"
"""Environment variable: maximum size of a file's content after decompression."""

VALUE = 64 * 10**6
"""Default bytes of one line or value."""

UNPACKED = 10**9
EXPANSION = 100
"""A file may unpack to `UNPACKED` bytes, or to this many times its own size if that is more."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def most_in_value() -> int:
    """Maximum bytes of one line or value. Raises DatasetError if the setting is not a size."""
    return _setting(VALUE_SETTING) or VALUE


def most_unpacked(packed: int) -> int:
    """Maximum bytes after decompression of a file of `packed` bytes. Raises DatasetError."""
    return _setting(UNPACKED_SETTING) or max(UNPACKED, EXPANSION * packed)


def value_too_large(what: str) -> DatasetError:
    """The error for a line or a value above the bound."""
    return DatasetError(
        f"{what} is larger than {size_in_words(most_in_value())}; if this is correct, "
        f"raise the bound with {VALUE_SETTING}, for example {VALUE_SETTING}=500MB"
    )


def unpacks_too_far(name: str, bound: int) -> DatasetError:
    """The error for a file that unpacks to more than its bound."""
    return DatasetError(
        f"data file {name!r} unpacks to more than {size_in_words(bound)}; if this is correct, "
        f"raise the bound with {UNPACKED_SETTING}, for example {UNPACKED_SETTING}=50GB"
    )


def _setting(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text, re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size < 1:
        raise DatasetError(f"{name} is {text!r}; allowed: a size such as 500MB or 50GB")
    return size
