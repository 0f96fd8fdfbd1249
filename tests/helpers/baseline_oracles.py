"""The baselines once more: slow, in double precision, and written from their papers' equations."""

import math

import numpy as np

from tests.helpers.oracles import priority


def size_of(scores, pruning_rate):
    return max(1, round((1 - pruning_rate) * sum(map(math.isfinite, scores))))


def easiest(scores, beta, size):
    """Row ids without the ⌊β·N⌋ of the greatest scores, as long as `size` are left."""
    ranked = sorted((score, row) for row, score in enumerate(scores) if math.isfinite(score))
    return sorted(row for _, row in ranked[: max(len(ranked) - math.floor(beta * len(ranked)), size)])


def greatest(scores, pruning_rate):
    """GraNd and EL2N: the greatest scores (Paul et al., section 3)."""
    ranked = sorted((-score, row) for row, score in enumerate(scores) if math.isfinite(score))
    return sorted(row for _, row in ranked[: size_of(scores, pruning_rate)])


def perplexity(losses, pruning_rate):
    """The middle of the order by perplexity (Marion et al., section 3)."""
    ranked = sorted((math.exp(loss), row) for row, loss in enumerate(losses) if math.isfinite(loss))
    size = size_of(losses, pruning_rate)
    start = (len(ranked) - size) // 2
    return sorted(row for _, row in ranked[start : start + size])


def facility(scores, embedding, pruning_rate, seed):
    """Greedy facility location: every sample is tried in every turn; ties by priority."""
    rows = [row for row, score in enumerate(scores) if math.isfinite(score)]
    rows.sort(key=lambda row: priority(seed, row, 1))
    vectors = embedding[rows].astype(float)
    vectors -= embedding[sorted(rows)].astype(float).mean(axis=0)
    norms = [math.sqrt((vector**2).sum()) for vector in vectors]
    likeness = [
        [round(4096 * (a @ b) / (x * y)) if x * y else 0 for b, y in zip(vectors, norms, strict=True)]
        for a, x in zip(vectors, norms, strict=True)
    ]
    best, chosen = [-4096] * len(rows), []
    for _ in range(size_of(scores, pruning_rate)):
        gains = {
            place: sum(max(new - old, 0) for new, old in zip(likeness[place], best, strict=True))
            for place in range(len(rows))
            if place not in chosen
        }
        chosen.append(max(gains, key=lambda place: (gains[place], -place)))
        best = [max(new, old) for new, old in zip(likeness[chosen[-1]], best, strict=True)]
    return sorted(rows[place] for place in chosen)


def balanced(rows, groups, size, seed):
    """Yang et al., Algorithm 1: the smallest group first, an equal share of what is left for each."""
    members = {}
    for row, group in zip(rows, groups, strict=True):
        members.setdefault(group, []).append(row)
    chosen, left = [], size
    order = sorted(members, key=lambda group: (len(members[group]), group))
    for place, group in enumerate(order):
        share = left // (len(order) - place)
        drawn = sorted(members[group], key=lambda row: priority(seed, row, 1))[:share]
        chosen += drawn
        left -= len(drawn)
    return sorted(chosen)


def random(scores, pruning_rate, seed):
    rows = [row for row, score in enumerate(scores) if math.isfinite(score)]
    order = sorted(rows, key=lambda row: priority(seed + 2**62, row, 1))
    return sorted(order[: size_of(scores, pruning_rate)])


def ccs(scores, pruning_rate, seed, num_strata, beta):
    """Zheng et al., Algorithm 1."""
    left = size_of(scores, pruning_rate)
    rows = easiest(scores, beta, left)
    low, high = min(scores[row] for row in rows), max(scores[row] for row in rows)
    regions = {}
    for row in rows:
        place = (scores[row] - low) / (high - low) * num_strata if high > low else 0
        regions.setdefault(min(num_strata - 1, math.floor(place)), []).append(row)
    chosen = []
    while regions:
        smallest = min(regions, key=lambda region: (len(regions[region]), region))
        budget = min(len(regions[smallest]), left // len(regions))
        members = sorted(regions.pop(smallest), key=lambda row: priority(seed, row, 1))
        chosen += members[:budget]
        left -= budget
    return sorted(chosen)


def d2(scores, embedding, pruning_rate, neighbours, forward, reverse, beta):
    """Maharana et al., section 3: graph, forward messages, then choice and reverse messages in turn."""
    size = size_of(scores, pruning_rate)
    rows = easiest(scores, beta, size)
    squared = {
        (a, b): sum((float(x) - float(y)) ** 2 for x, y in zip(embedding[a], embedding[b], strict=True))
        for a in rows
        for b in rows
        if a != b
    }
    nearest = {
        a: sorted((b for b in rows if b != a), key=lambda b: (squared[a, b], b))[:neighbours] for a in rows
    }
    lengths = [squared[a, b] for a in rows for b in nearest[a]]
    unit = float(np.median(lengths)) if lengths else 1.0
    linked = {a: {b for b in rows if b in nearest[a] or a in nearest.get(b, ())} for a in rows}
    wanted = {
        a: scores[a] + sum(math.exp(-forward * squared[a, b] / (unit or 1.0)) * scores[b] for b in linked[a])
        for a in rows
    }
    chosen = []
    while len(chosen) < size:
        best = min(wanted, key=lambda a: (-wanted[a], a))
        value = wanted.pop(best)
        chosen.append(best)
        for b in linked[best] & wanted.keys():
            wanted[b] -= math.exp(-reverse * squared[best, b] / (unit or 1.0)) * value
    return sorted(chosen)


def moderate(scores, embedding, pruning_rate):
    """Xia et al., section 3, with one class: the distances in the middle of all distances."""
    size = size_of(scores, pruning_rate)
    rows = [row for row, score in enumerate(scores) if math.isfinite(score)]
    columns = zip(*(embedding[row] for row in rows), strict=True)
    median = [float(np.median(np.array(column, dtype=float))) for column in columns]
    distance = {
        row: math.sqrt(sum((float(x) - y) ** 2 for x, y in zip(embedding[row], median, strict=True)))
        for row in rows
    }
    ranked = sorted(rows, key=lambda row: (distance[row], row))
    start = (len(rows) - size) // 2
    return sorted(ranked[start : start + size])
