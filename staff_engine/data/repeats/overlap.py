"""Overlap with held-out samples: equal texts, and texts that share most of their sequences of words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from staff_engine.data.repeats.words import sequences

WORDS = 8
"""Words in a sequence."""

SHARE = 0.8
"""Share of a held-out sample's sequences that occur in a row, from which the row overlaps with it."""

COMMON = 0.01
FEWEST_COMMON = 5
"""A sequence in more than this share of the held-out samples, and in more than so many, is a phrase of the
prompt template and does not count."""


class HeldOutWords:
    """The sequences of words in held-out samples.

    Parameters
    ----------
    texts
        The words of each held-out sample.
    """

    def __init__(self, texts: Iterable[list[str]]) -> None:
        each = [sequences(words, WORDS) for words in texts]
        self._whole = {hash(found.tobytes()): row for row, found in reversed([*enumerate(each, start=1)])}
        rows = np.repeat(np.arange(1, len(each) + 1), [len(found) for found in each])
        every = np.concatenate([np.zeros(0, np.uint64), *each])
        keys, first, counts = np.unique(every, return_index=True, return_counts=True)
        rare = counts <= max(FEWEST_COMMON, COMMON * len(each))
        self._keys, self._rows = keys[rare], rows[first][rare]
        self._sizes = np.bincount(self._rows, minlength=1)

    def overlap(self, words: list[str]) -> str | None:
        """Why a text overlaps with the held-out samples; None if it does not."""
        found = sequences(words, WORDS)
        if not len(found):
            return None
        row = self._whole.get(hash(found.tobytes()))
        if row is not None:
            return f"equal to row {row}"
        if not len(self._keys):
            return None
        places = np.minimum(np.searchsorted(self._keys, found), len(self._keys) - 1)
        rows, counts = np.unique(self._rows[places[self._keys[places] == found]], return_counts=True)
        shares = counts / self._sizes[rows]
        if not len(rows) or shares.max() < SHARE:
            return None
        return f"{shares.max():.0%} of the sequences of {WORDS} words in row {rows[shares.argmax()]}"
