"""A score compared only among samples of similar response length."""

from __future__ import annotations

import numpy as np

GROUPS = 10
"""Groups of similar length: tenths of the samples."""


def rank_within_lengths(scores: np.ndarray, response_tokens: np.ndarray) -> np.ndarray:
    """Rank each sample among the samples of similar response length.

    Most scores depend on the length of the response. Leaving out the highest scores then leaves out
    mostly short or mostly long responses. These ranks have the same distribution at every length.

    Parameters
    ----------
    scores : float (N,)
        NaN where there is no score.
    response_tokens : float (N,)
        Number of response tokens of each sample.

    Returns
    -------
    float64 (N,)
        Rank divided by the size of the group, above 0 up to 1; NaN where there is no score. Equal scores of a
        group have the same rank, and samples of equal length are in the same group.
    """
    from scipy.stats import rankdata

    known = np.flatnonzero(np.isfinite(scores))
    groups = _groups(response_tokens[known])
    ranks = np.full(len(scores), np.nan)
    for group in np.unique(groups):
        members = known[groups == group]
        ranks[members] = rankdata(scores[members]) / len(members)
    return ranks


def _groups(lengths: np.ndarray) -> np.ndarray:
    """The group of each sample, int64: tenths of the sorted lengths, without dividing equal lengths."""
    values, inverse, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    before = np.cumsum(counts) - counts
    return (before * GROUPS // max(1, len(lengths)))[inverse] if len(values) else inverse
