"""The array core once more: slow, exact, and written from the paper's equations."""

import math
from fractions import Fraction


def paper_budget(sizes, ratios, coreset_size):
    """Algorithm 1: m_B = ⌊(m − |D'|)·V_i / |𝓑|⌋, in exact arithmetic, one sample after the other."""
    counts = [0] * len(sizes)
    while sum(counts) < coreset_size:
        regions = [i for i in range(len(sizes)) if counts[i] < sizes[i]]
        before = sum(counts)
        while regions:
            smallest = min(regions, key=lambda i: (sizes[i], i))
            share = math.floor((coreset_size - sum(counts)) * Fraction(ratios[smallest]) / len(regions))
            while share and counts[smallest] < sizes[smallest] and sum(counts) < coreset_size:
                counts[smallest] += 1
                share -= 1
            regions.remove(smallest)
        if sum(counts) == before:
            _one_each(counts, sizes, ratios, coreset_size)
    return counts


def normalized_budget(sizes, ratios, coreset_size):
    """The released rule: m_B = ⌊(m − |D'|)·V_i / Σ_{j∈𝓑} V_j⌋, likewise."""
    counts, left = [0] * len(sizes), coreset_size
    while left:
        placed = 0
        queue = sorted((size, i) for i, size in enumerate(sizes) if counts[i] < size)
        for turn, (size, i) in enumerate(queue):
            whole = sum((Fraction(ratios[j]) for _, j in queue[turn:]), Fraction(0))
            share = math.floor(left * Fraction(ratios[i]) / whole) if whole else 0
            share = min(share, size - counts[i], left)
            counts[i] += share
            left -= share
            placed += share
        if not placed:
            left -= _one_each(counts, sizes, ratios, coreset_size)
    return counts


def _one_each(counts, sizes, ratios, coreset_size):
    placed = 0
    room = [i for i in range(len(sizes)) if counts[i] < sizes[i]]
    for i in sorted(room, key=lambda i: (-ratios[i], sizes[i], i)):
        if sum(counts) < coreset_size:
            counts[i] += 1
            placed += 1
    return placed


def proportional_budget(sizes, ratios, coreset_size):
    """size·V_i, what is full taken out one after the other, then one each by the largest remainders."""
    open_, counts = {i for i, size in enumerate(sizes) if size}, [0] * len(sizes)
    while open_:
        weights = {i: Fraction(ratios[i]) * sizes[i] for i in open_}
        if not any(weights.values()):
            weights = {i: Fraction(sizes[i]) for i in open_}
        left = coreset_size - sum(counts)
        shares = {i: left * weight / sum(weights.values()) for i, weight in weights.items()}
        full = [i for i in open_ if shares[i] >= sizes[i]]
        if not full:
            break
        for i in full:
            counts[i] = sizes[i]
            open_.remove(i)
    if open_:
        for i in open_:
            counts[i] = math.floor(shares[i])
        by_remainder = sorted(open_, key=lambda i: (counts[i] - shares[i], i))
        for i in by_remainder[: coreset_size - sum(counts)]:
            counts[i] += 1
    return counts


BUDGETS = {"paper": paper_budget, "normalized": normalized_budget, "proportional": proportional_budget}


def width_labels(scores, num_strata, dropped):
    """Label of each sample: its stratum, −1 dropped, −2 no score."""
    ranked = sorted((score, i) for i, score in enumerate(scores) if math.isfinite(score))
    kept = ranked[: len(ranked) - dropped]
    labels = [-1 if math.isfinite(score) else -2 for score in scores]
    low, high = kept[0][0], kept[-1][0]
    for score, i in kept:
        place = (score - low) / (high - low) * num_strata if high > low else 0
        labels[i] = min(num_strata - 1, math.floor(place))
    return labels


def scaled_ratios(labels, scores, verified, num_strata):
    """V_i = ΣS^t / ΣS^s in each stratum, over the same of all verified samples, as fractions."""
    inside = {i: Fraction(score) for i, score in verified.items() if labels[i] >= 0 and math.isfinite(score)}
    small = sum(Fraction(scores[i]) for i in inside)
    target = sum(inside.values())
    ratios = []
    for stratum in range(num_strata):
        members = [i for i in inside if labels[i] == stratum]
        below = sum(Fraction(scores[i]) for i in members)
        defined = below and small and target
        ratios.append(
            Fraction(sum(inside[i] for i in members)) / below / (target / small) if defined else Fraction(1)
        )
    return ratios


def priority(seed, row_id, stream):
    """Order of the draw: 22 bits of SplitMix64, then the row id."""
    golden, word = 0x9E3779B97F4A7C15, 2**64 - 1

    def mix(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & word
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & word
        return z ^ (z >> 31)

    key = mix((2 * seed + stream + 1) * golden & word)
    return mix((key + (row_id + 1) * golden) & word) >> 42, row_id


def coreset(scores, verified, *, pruning_rate, num_strata, allocation, within, drop_hardest, seed):
    """Row ids of the coreset, one step of the paper after the other."""
    scorable = sum(map(math.isfinite, scores))
    size = max(1, round((1 - pruning_rate) * scorable))
    labels = width_labels(scores, num_strata, min(math.floor(drop_hardest * scorable), scorable - size))
    ratios = scaled_ratios(labels, scores, verified, num_strata)
    strata = [[i for i, label in enumerate(labels) if label == stratum] for stratum in range(num_strata)]
    chosen = []
    budget = BUDGETS[allocation]([len(members) for members in strata], ratios, size)
    for members, count in zip(strata, budget, strict=True):
        if within == "random":
            order = sorted(members, key=lambda i: priority(seed, i, 1))
        else:
            order = sorted(members, key=lambda i: (-scores[i], i))
        chosen += order[:count]
    return sorted(chosen)
