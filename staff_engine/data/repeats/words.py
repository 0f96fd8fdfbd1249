"""Texts as sequences of words: what two texts are compared by."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

import numpy as np

from staff_engine.data.turns import Turn

_WORD = re.compile(r"\w+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""An odd number, by which the hashes of neighbouring words are combined."""


def words_of(turns: Iterable[Turn]) -> list[str]:
    """The words of all turns in lower case, without punctuation."""
    return _WORD.findall("\n".join(turn["content"] for turn in turns).lower())


def sequences(words: list[str], length: int) -> np.ndarray:
    """A 64-bit hash of each sequence of neighbouring words.

    Parameters
    ----------
    words
        The words of a text.
    length
        Words in a sequence. A text with fewer words is one sequence.

    Returns
    -------
    np.ndarray
        uint64 (max(1, n - length + 1),), unique and sorted; empty for a text without words.
    """
    if not words:
        return np.zeros(0, np.uint64)
    length = min(length, len(words))
    hashed = np.array([zlib.crc32(word.encode()) for word in words], np.uint64)
    count = len(words) - length + 1
    combined = np.full(count, length, np.uint64)
    for offset in range(length):
        combined = combined * _FACTOR + hashed[offset : offset + count]
    combined ^= combined >> np.uint64(29)
    return np.unique(combined * _FACTOR)
