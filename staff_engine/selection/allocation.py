"""Sizes and ratios of strata to the number of samples that each gives to the coreset."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from staff_engine.errors import PlanError

_Rule = Callable[[list[float]], list[float]]
"""Ratios in the order of the walk → into how many parts, of which a stratum gets V_i, what is left is
divided at its turn."""

_ROUNDING = 1 + 1e-12
"""A share that a rounding error put below a whole number is that number."""


def allocate(
    sizes: np.ndarray, ratios: np.ndarray, coreset_size: int, *, allocation: str = "paper"
) -> np.ndarray:
    """Return how many samples each stratum gives, exactly `coreset_size` in all.

    Strata are walked from the smallest to the largest, equal ones by index. Each gets
    the floor of its share of what is left, at most its size:

    - "paper": left·V_i / |𝓑|, 𝓑 the strata from this one on (STAFF, Algorithm 1);
    - "normalized": left·V_i / Σ_{j∈𝓑} V_j (the released code).

    What is left after the walk is walked again over the strata with room. A walk that
    places nothing is followed by one sample for each of them, greatest ratio first,
    equal ones in the order of the walk.

    Parameters
    ----------
    sizes : int (K,)
        Samples in each stratum; an empty one is not served.
    ratios : float64 (K,)
        Verification ratios V_i, finite and 0 or more; higher gets more.
    coreset_size : int
        m, 0 to the sum of the sizes.
    allocation : {"paper", "normalized"}
        The rule.

    Returns
    -------
    int64 (K,)
        Counts, 0 to each stratum's size, with the sum m.

    Raises
    ------
    PlanError
        If the rule is unknown.
    ValueError
        If the strata hold fewer than m samples.

    Notes
    -----
    The paper has one walk and so may end with fewer than m samples: ratios below 1
    leave some, and so do small strata. The walks after the first are ours.
    """
    if allocation not in ALLOCATIONS:
        raise PlanError(f"allocation is {allocation!r}; allowed: {', '.join(ALLOCATIONS)}")
    room = [int(size) for size in sizes]
    if not 0 <= coreset_size <= sum(room):
        raise ValueError(f"coreset_size is {coreset_size}; allowed: 0 to the strata's {sum(room)} samples")
    order = [int(stratum) for stratum in np.argsort(sizes, kind="stable")]
    left = int(coreset_size)
    while left:
        order = [stratum for stratum in order if room[stratum]]
        served = [float(ratios[stratum]) for stratum in order]
        counts = _serve([room[stratum] for stratum in order], served, left, _RULES[allocation])
        for stratum, count in zip(order, counts, strict=True):
            room[stratum] -= count
        left -= sum(counts)
    return np.asarray(sizes, dtype=np.int64) - np.array(room, dtype=np.int64)


def _serve(room: list[int], ratios: list[float], left: int, rule: _Rule) -> list[int]:
    """What strata with room, in the order of the walk, get in one walk or in some equal ones."""
    parts = rule(ratios)
    counts = _walk(room, ratios, parts, left)
    placed = sum(counts)
    if not placed:
        return _one_each(room, ratios, left)
    most = min(free // count for free, count in zip(room, counts, strict=True) if count)
    times = 1
    # Shares fall with what is left, so the walks between two equal ones equal them. Ratios
    # near 0 would take a million walks one by one.
    while 2 * times <= most and _walk(room, ratios, parts, left - (2 * times - 1) * placed) == counts:
        times *= 2
    return [times * count for count in counts]


def _walk(room: list[int], ratios: list[float], parts: list[float], left: int) -> list[int]:
    """The floor of each share, at most the stratum's room and what is left."""
    counts = []
    for free, ratio, whole in zip(room, ratios, parts, strict=True):
        share = left * ratio / whole * _ROUNDING if whole else 0.0
        counts.append(min(math.floor(min(share, left)), free))
        left -= counts[-1]
    return counts


def _one_each(room: list[int], ratios: list[float], left: int) -> list[int]:
    """One sample a stratum, by ratio, as often as a walk with less left places nothing either."""
    times = min(left // len(room), *room)
    if times:
        return [times] * len(room)
    counts = [0] * len(room)
    for place in sorted(range(len(room)), key=lambda place: -ratios[place])[:left]:
        counts[place] = 1
    return counts


def _strata_to_serve(ratios: list[float]) -> list[float]:
    """|𝓑| at each stratum's turn."""
    return [float(count) for count in range(len(ratios), 0, -1)]


def _ratios_to_serve(ratios: list[float]) -> list[float]:
    """Σ_{j∈𝓑} V_j at each stratum's turn."""
    return [float(parts) for parts in np.cumsum(ratios[::-1])[::-1]]


_RULES: dict[str, _Rule] = {"paper": _strata_to_serve, "normalized": _ratios_to_serve}
ALLOCATIONS = tuple(_RULES)
