"""Groups of rows that share most of their sequences of words.

Memory grows by about 60 bytes per row: the sketches are in files. A pair of rows with a Jaccard similarity of
0.8 becomes a candidate with a probability of 99.98 %. Candidates are compared exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from staff_engine.data.repeats.minhash import bands_for, group_alike, sketches
from staff_engine.data.repeats.words import sequences

WORDS = 3
"""Words in a sequence."""

THRESHOLD = 0.8
"""Share of common sequences among all sequences of two rows (Jaccard) from which they are near duplicates."""

BANDS = bands_for(THRESHOLD)

BLOCK = 4096
"""Texts that are sketched at once."""

COMPARED = 2_000_000
"""Maximum pairs that are compared; rows of further pairs are not taken for near duplicates."""


class NearDuplicates:
    """Finds the near duplicates among texts that are added one after the other.

    Parameters
    ----------
    folder
        An empty folder for the sketches, 128 bytes per text.
    words_at
        Reads the words of a text again, by its index.
    """

    def __init__(self, folder: Path, words_at: Callable[[int], list[str]]) -> None:
        self._folder = folder
        self._words_at = words_at
        self._block: list[np.ndarray] = []
        self._count = 0

    def add(self, words: list[str]) -> None:
        """Add the words of the next text."""
        self._block.append(sequences(words, WORDS).astype(np.uint32))
        self._count += 1
        if len(self._block) == BLOCK:
            self._write()

    def groups(self, usable: np.ndarray | None = None) -> np.ndarray:
        """The index of the first text of each text's group, int64 (n,).

        Parameters
        ----------
        usable
            bool (n,): which texts to compare. Default: all.
        """
        self._write()
        with_words = np.ones(self._count, bool) if usable is None else usable.copy()
        if self._count:
            with_words &= next(self._bands()) != 0
        return group_alike(
            np.arange(self._count),
            self._bands(),
            np.flatnonzero(with_words),
            lambda pairs: np.array([self.similarity(one, other) for one, other in pairs.tolist()]),
            threshold=THRESHOLD,
            most=COMPARED,
        )

    def similarity(self, one: int, other: int) -> float:
        """The similarity of two texts, 0 to 1."""
        return jaccard(self._words_at(one), self._words_at(other))

    def _write(self) -> None:
        """Append the sketches of the block to the files, one for each band; 0 for a text without words."""
        if not self._block:
            return
        lengths = np.array([len(units) for units in self._block])
        found = np.zeros((len(self._block), BANDS), np.uint64)
        some = lengths > 0
        if some.any():
            starts = (np.cumsum(lengths) - lengths)[some]
            found[some] = np.maximum(sketches(np.concatenate(self._block), starts, BANDS), np.uint64(1))
        for number in range(BANDS):
            with (self._folder / f"band-{number}").open("ab") as file:
                file.write(np.ascontiguousarray(found[:, number]).tobytes())
        self._block = []

    def _bands(self) -> Iterator[np.ndarray]:
        for number in range(BANDS if self._count else 0):
            yield np.fromfile(self._folder / f"band-{number}", np.uint64)


def jaccard(first: list[str], second: list[str]) -> float:
    """The share of common sequences of words among all sequences of two texts."""
    one, other = sequences(first, WORDS), sequences(second, WORDS)
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / max(len(one) + len(other) - common, 1)
