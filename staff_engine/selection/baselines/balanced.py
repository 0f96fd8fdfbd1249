"""Balanced draws: an equal number of samples from each of several groups."""

from __future__ import annotations

import numpy as np

from staff_engine.selection.allocation import allocate
from staff_engine.selection.drawing import SELECTION, priorities

CLUSTERS = 100
"""Number of clusters of S2L, from its paper, and of k-means."""


def draw_balanced(rows: np.ndarray, groups: np.ndarray, size: int, *, seed: int) -> np.ndarray:
    """Draw an equal number of samples from each group, or all of a group that is too small.

    The smallest group is first. Each gets ⌊remaining budget / remaining groups⌋, at most its size.

    Parameters
    ----------
    rows : int (n,)
        Row ids, each once.
    groups : int (n,)
        The group of each row, 0 or more. Groups of equal size are served in the order of their number.
    size : int
        Number of samples to draw, 0 to n.
    seed : int
        0 to 2**63 - 1. Of each group, the samples with the lowest `drawing.priorities` are drawn.

    Returns
    -------
    int64 (size,)
        Row ids, ascending.

    Raises
    ------
    PlanError
        If the seed is out of range.
    """
    sizes = np.bincount(groups)
    counts = allocate(sizes, np.ones(len(sizes)), size)
    drawn = np.argsort(priorities(seed, rows, SELECTION))
    by_group = drawn[np.argsort(groups[drawn], kind="stable")]
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(rows[by_group[place < np.repeat(counts, sizes)]]).astype(np.int64)
