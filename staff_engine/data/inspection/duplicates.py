"""Which rows share a key: groups of equal numbers in an array. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Groups:
    """Groups with at least two members."""

    order: np.ndarray  # int64 (n,): indices, grouped, ascending within each group
    starts: np.ndarray  # int64 (g,): where in `order` each group begins; the largest group first
    sizes: np.ndarray  # int64 (g,)

    def __len__(self) -> int:
        return len(self.starts)

    def members(self, group: int) -> np.ndarray:
        """The indices in a group, ascending."""
        start = self.starts[group]
        members: np.ndarray = self.order[start : start + self.sizes[group]]
        return members


def repeated(keys: np.ndarray) -> Groups:
    """The keys that occur more than once.

    Parameters
    ----------
    keys
        uint64 (n,).

    Returns
    -------
    Groups
        The largest first; groups of equal size in order of their first index.
    """
    order, starts, sizes = _runs(keys)
    many = sizes > 1
    starts, sizes = starts[many], sizes[many]
    ranked = np.lexsort((order[starts], -sizes))
    return Groups(order, starts[ranked], sizes[ranked])


def first_of_each(keys: np.ndarray) -> np.ndarray:
    """The index of the first occurrence of each key, ascending; int64."""
    order, starts, _ = _runs(keys)
    return np.sort(order[starts])


def _runs(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices sorted by key, where each key begins among them, and how often it occurs."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(begins)
    return order, starts, np.diff(np.append(starts, len(keys)))
