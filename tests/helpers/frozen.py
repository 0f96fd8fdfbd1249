"""The selection as it was before scores could be opened once: nothing kept, whole arrays at a time.

Pools have to give the very same rows. Sizes to counts and verified scores to ratios did not change
and are the engine's own.
"""

import math

import numpy as np

from staff_engine.selection.allocation import allocate
from staff_engine.selection.strata import Strata
from staff_engine.selection.verification import verification_ratios


def coreset(
    scores, ids=(), verified=(), *, pruning_rate, num_strata=50, strata_by="width", allocation="paper",
    within="random", drop_hardest=0.1, seed=0,
):  # fmt: skip
    """Row ids and labels."""
    scorable = int(np.isfinite(scores).sum())
    size = max(1, round((1 - pruning_rate) * scorable))
    dropped = min(math.floor(drop_hardest * scorable), scorable - size)
    labels, edges = stratify(scores, num_strata, strata_by, dropped)
    strata = Strata(labels, edges, sizes_of(labels, len(edges) - 1))
    ratios = verification_ratios(strata, scores, ids, verified)
    budget = allocate(strata.sizes, ratios.values, size, allocation=allocation)
    rank = priorities(seed, len(scores), 1) if within == "random" else -scores
    return first(labels, rank, budget), labels


def drawn(
    scores, *, num_strata=50, strata_by="width", per_stratum=10, drop_hardest=0.1, pruning_rate=None, seed=0,
    verified=(), excluded=(),
):  # fmt: skip
    """Row ids that are still to verify."""
    scorable = int(np.isfinite(scores).sum())
    keep = 1 if pruning_rate is None else max(1, round((1 - pruning_rate) * scorable))
    dropped = min(math.floor(drop_hardest * scorable), scorable - keep)
    labels, edges = stratify(scores, num_strata, strata_by, dropped)
    labels[np.array(excluded, dtype=int)] = -1
    sizes = sizes_of(labels, len(edges) - 1)
    labels[np.array(verified, dtype=int)] = -1
    have = sizes - sizes_of(labels, len(edges) - 1)
    missing = np.maximum(np.minimum(per_stratum, sizes) - have, 0)
    return first(labels, priorities(seed, len(scores), 0), missing)


def first(labels, rank, counts):
    """The rows of lowest rank in each stratum, equal ones by row id, `counts[i]` of each."""
    chosen = []
    for stratum, count in enumerate(counts):
        members = np.flatnonzero(labels == stratum)
        chosen.extend(members[np.argsort(rank[members], kind="stable")][:count].tolist())
    return np.array(sorted(chosen), dtype=np.int64)


def sizes_of(labels, num_strata):
    return np.bincount(labels[labels >= 0], minlength=num_strata)


def priorities(seed, count, stream):
    """22 bits of SplitMix64."""
    golden, word = 0x9E3779B97F4A7C15, 2**64 - 1
    key = mix(np.array([(2 * seed + stream + 1) * golden & word], dtype=np.uint64))
    return mix(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(golden) + key) >> np.uint64(42)


def mix(words):
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(31))


def stratify(scores, num_strata, by, dropped):
    """Labels and edges."""
    finite = np.isfinite(scores)
    kept = np.sort(scores[finite])[: finite.sum() - dropped]
    low, high = kept.min(), kept.max()
    if low == high:
        regions, edges = np.zeros(len(scores)), np.array([low, high])
    else:
        regions, edges = REGIONS[by](np.fmin(scores, high), kept, num_strata)
    labels = regions.astype(np.int16)
    labels[scores > high] = -1
    surplus = np.count_nonzero(scores <= high) - len(kept)
    if surplus:
        labels[np.flatnonzero(scores == high)[-surplus:]] = -1
    labels[~finite] = -2
    return labels, edges


def by_width(values, kept, num_strata):
    return cut(values, kept.min(), kept.max(), num_strata)


def by_log(values, kept, num_strata):
    least, high = kept[kept > 0].min(), kept.max()
    log_low, log_high = np.log(least), np.log(high)
    if log_low == log_high:
        return np.zeros(len(values)), np.array([kept.min(), high])
    regions, edges = cut(np.log(np.maximum(values, least)), log_low, log_high, num_strata)
    edges = np.clip(np.exp(edges), least, high)
    edges[0], edges[-1] = kept.min(), high
    return regions, edges


def by_quantile(values, kept, num_strata):
    ranks = np.arange(num_strata + 1) * len(kept) // num_strata
    ranks[-1] = len(kept) - 1
    edges = kept[ranks]
    return np.searchsorted(edges[1:-1], values, side="right"), edges


def cut(values, low, high, num_strata):
    regions = np.minimum((values - low) / (high - low) * num_strata, num_strata - 1)
    edges = low + (high - low) * (np.arange(num_strata + 1) / num_strata)
    edges[-1] = high
    return regions, edges


REGIONS = {"width": by_width, "log": by_log, "quantile": by_quantile}
