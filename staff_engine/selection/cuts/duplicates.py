"""Which samples of groups of near duplicates are left out."""

from __future__ import annotations

import numpy as np


def surplus_of(groups: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """All samples of each group but the first that has a score.

    Parameters
    ----------
    groups : int (N,)
        Number of the group of each sample; samples with the same number are near duplicates.
    scores : float (N,)
        A value that is not finite marks a sample without a score. It is not in the result.

    Returns
    -------
    int64 (d, 2)
        The row id of each sample that is left out, ascending, and of the sample kept in its place.

    Raises
    ------
    ValueError
        If the arrays have different lengths.
    """
    if len(groups) != len(scores):
        raise ValueError(f"groups has {len(groups)} values; allowed: one for each of {len(scores)} scores")
    scored = np.flatnonzero(np.isfinite(scores))
    _, first, group = np.unique(groups[scored], return_index=True, return_inverse=True)
    kept = scored[first][group]
    left_out = kept != scored
    return np.stack([scored[left_out], kept[left_out]], axis=1)
