"""The search for near duplicates: MinHash finds pairs that are alike, which are then compared.

A sample is a set of units: triples of tokens, or sequences of words. Shapes: n samples, u units of a block
of samples, b bands, p pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import numpy as np

log = logging.getLogger(__name__)

HASHES = 64
BANDS = (64, 32, 16, 8, 4)
"""Numbers of bands of the hashes. Two samples with the same hashes in a band are compared."""
RECALL = 0.99
"""Minimum probability that a pair at the threshold is compared."""

NEIGHBOURS = 10
"""Samples that each one is compared with in a band, so that many alike do not take quadratic time."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def bands_for(threshold: float) -> int:
    """The fewest bands that find a pair at the threshold with probability `RECALL`."""
    found = [bands for bands in BANDS if 1 - (1 - threshold ** (HASHES // bands)) ** bands >= RECALL]
    return min(found, default=max(BANDS))


def sketches(hashes: np.ndarray, starts: np.ndarray, bands: int) -> np.ndarray:
    """A hash of the MinHashes in each band, uint64 (m, bands), of m samples with at least one unit.

    Parameters
    ----------
    hashes
        uint32 (u,): a hash of each unit, sample after sample.
    starts
        int (m,): where each sample begins.
    """
    rng = np.random.default_rng(0)
    # 32 bits are enough for the few units of a sample, and take half the time of 64.
    factors = rng.integers(0, 2**31, HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    offsets = rng.integers(0, 2**32, HASHES, dtype=np.uint32)
    found = np.zeros((len(starts), bands), np.uint64)
    for number in range(HASHES):
        least = np.minimum.reduceat(hashes * factors[number] + offsets[number], starts)
        band = number * bands // HASHES
        found[:, band] = (found[:, band] + least + np.uint64(1)) * _FACTOR
    return found


def group_alike(
    labels: np.ndarray,
    bands: Iterable[np.ndarray],
    usable: np.ndarray,
    similarities: Callable[[np.ndarray], np.ndarray],
    *,
    threshold: float,
    most: int | None = None,
) -> np.ndarray:
    """Group samples that are alike. A group is a connected component: its members need not all be alike.

    Parameters
    ----------
    labels
        int64 (n,): groups that are known already, as in the result.
    bands
        For each band its column of `sketches`, uint64 (n,).
    usable
        int64: indices of the samples to search among.
    similarities
        The similarities of pairs, int64 (p, 2): float64 (p,), 0 to 1. Pairs of one group are not asked for.
    threshold
        Similarity from which two samples are alike.
    most
        Maximum number of pairs to compare; the search then stops with a warning. Default: no maximum.

    Returns
    -------
    int64 (n,)
        The lowest index of each sample's group; its own index if it is alone.
    """
    compared = 0
    for band in bands:
        pairs = _pairs(band, usable)
        pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
        if most is not None and compared + len(pairs) > most:
            log.warning("near duplicates: only the first %d similar pairs were compared", most)
            pairs = pairs[: most - compared]
        compared += len(pairs)
        labels = _united(labels, pairs[similarities(pairs) >= threshold])
        if compared == most:
            break
    return labels


def _pairs(band: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Pairs of samples with the same hash in a band, int64 (p, 2); each with up to `NEIGHBOURS` others."""
    order = usable[np.argsort(band[usable], kind="stable")]
    found = []
    for distance in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
        same = np.flatnonzero(band[order[distance:]] == band[order[:-distance]])
        if not len(same):
            break
        found.append(np.stack([order[same], order[same + distance]], axis=1))
    return np.concatenate([np.zeros((0, 2), np.int64), *found])


def _united(labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Labels after joining the groups of each pair: the lowest index of each group, int64 (n,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return labels
    count = len(labels)
    ends = labels[pairs]
    edges = coo_array((np.ones(len(ends), np.int64), (ends[:, 0], ends[:, 1])), shape=(count, count))
    component = connected_components(edges, directed=False)[1][labels]
    first = np.full(component.max() + 1, count)
    np.minimum.at(first, component, np.arange(count))
    return first[component]
