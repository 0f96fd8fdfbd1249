"""Near duplicates: rows that share most of their sequences of words, found by MinHash.

Memory grows by 8 bytes per row: the signatures are in a file. A pair of rows with a Jaccard similarity of
0.8 becomes a candidate with a probability of 99.98 %. Candidates are compared exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from staff_engine.data.repeats.words import sequences

log = logging.getLogger(__name__)

WORDS = 3
"""Words in a sequence."""

THRESHOLD = 0.8
"""Share of common sequences among all sequences of two rows (Jaccard) from which they are near duplicates."""

BANDS, BAND = 16, 4
"""Two rows are compared if they agree in all `BAND` hashes of one of `BANDS` bands."""

COMPARED = 2_000_000
"""Maximum pairs that are compared; rows of further pairs are not taken for near duplicates."""


class NearDuplicates:
    """Finds the near duplicates among texts that are added one after the other.

    Parameters
    ----------
    path
        A file for the signatures, 128 bytes per text.
    words_at
        Reads the words of a text again, by its index.
    """

    def __init__(self, path: Path, words_at: Callable[[int], list[str]]) -> None:
        from datasketch import MinHash

        self._path = path
        self._file: BinaryIO = path.open("wb")
        self._words_at = words_at
        self._empty = MinHash(num_perm=BANDS * BAND, seed=1, hashfunc=_as_it_is)
        self._count = 0

    def add(self, words: list[str]) -> None:
        """Add the words of the next text."""
        sketch = self._empty.copy()
        sketch.update_batch((sequences(words, WORDS) & np.uint64(0xFFFFFFFF)).tolist())
        bands = sketch.hashvalues.astype(np.uint64).reshape(BANDS, BAND)
        mixed = bands[:, 0]
        for column in range(1, BAND):
            mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + bands[:, column]
        self._file.write(mixed.tobytes())
        self._count += 1

    def repeats(self) -> dict[int, tuple[int, float]]:
        """The texts that nearly repeat an earlier one → that text and their similarity, 0 to 1."""
        self._file.close()
        found: dict[int, tuple[int, float]] = {}
        if not self._count:
            return found
        bands = np.memmap(self._path, np.uint64, "r", shape=(self._count, BANDS))
        compared = 0
        for band in range(BANDS):
            for first, second in _equal_pairs(np.ascontiguousarray(bands[:, band])):
                first = found.get(first, (first, 1.0))[0]
                if second in found or first == second:
                    continue
                if compared == COMPARED:
                    log.warning("near duplicates: only the first %d similar pairs were compared", COMPARED)
                    return found
                compared += 1
                similarity = jaccard(self._words_at(first), self._words_at(second))
                if similarity >= THRESHOLD:
                    found[second] = (first, similarity)
        return found


def jaccard(first: list[str], second: list[str]) -> float:
    """The share of common sequences of words among all sequences of two texts."""
    one, other = sequences(first, WORDS), sequences(second, WORDS)
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / max(len(one) + len(other) - common, 1)


def _equal_pairs(keys: np.ndarray) -> Iterator[tuple[int, int]]:
    """For each key that occurs more than once: its first index with each of the others, ascending."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    again = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    if not len(again):
        return
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    firsts = order[begins[np.searchsorted(begins, again, side="right") - 1]]
    seconds = order[again]
    for place in np.argsort(seconds, kind="stable"):
        yield int(firsts[place]), int(seconds[place])


def _as_it_is(value: int) -> int:
    return value
