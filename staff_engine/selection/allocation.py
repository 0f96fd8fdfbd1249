"""Sizes and ratios of strata to the number of samples that each gives to the coreset."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from staff_engine.errors import PlanError

_Rule = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Sizes, ratios and m → counts, each (K,)."""

_Parts = Callable[[list[float]], list[float]]
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
    - "normalized": left·V_i / Σ_{j∈𝓑} V_j (the released code);
    - "proportional": to size times V_i, in one step and not by a walk (ours): with every ratio 1 the
      coreset has the distribution of the data.

    What is left after the walk of the first two is walked again over the strata with room. A walk that
    places nothing is followed by one sample for each of them, greatest ratio first,
    equal ones in the order of the walk.

    Parameters
    ----------
    sizes : int (K,)
        Samples in each stratum; an empty one is not served.
    ratios : float64 (K,)
        Verification ratios V_i, finite and 0 or more; higher gets more. NaN marks a stratum without
        one: "normalized" gives it left/|𝓑|, the others take 1.
    coreset_size : int
        m, 0 to the sum of the sizes.
    allocation : {"paper", "normalized", "proportional"}
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
    total = int(np.sum(sizes))
    if not 0 <= coreset_size <= total:
        raise ValueError(f"coreset_size is {coreset_size}; allowed: 0 to the strata's {total} samples")
    return _RULES[allocation](sizes, ratios, coreset_size)


def _walked(parts: _Parts, *, without: float) -> _Rule:
    """A rule that walks over the strata; `without` stands for the ratio of a stratum that has none."""

    def rule(sizes: np.ndarray, ratios: np.ndarray, coreset_size: int) -> np.ndarray:
        ratios = np.where(np.isnan(ratios), without, ratios)
        room = [int(size) for size in sizes]
        order = [int(stratum) for stratum in np.argsort(sizes, kind="stable")]
        left = int(coreset_size)
        while left:
            order = [stratum for stratum in order if room[stratum]]
            served = [float(ratios[stratum]) for stratum in order]
            counts = _serve([room[stratum] for stratum in order], served, left, parts)
            for stratum, count in zip(order, counts, strict=True):
                room[stratum] -= count
            left -= sum(counts)
        return np.asarray(sizes, dtype=np.int64) - np.array(room, dtype=np.int64)

    return rule


def _proportional(sizes: np.ndarray, ratios: np.ndarray, coreset_size: int) -> np.ndarray:
    """Counts in proportion to size times ratio, at most each size, by the largest remainders.

    Strata whose share exceeds their size give all they have, and the rest is shared anew. Where
    only strata of ratio 0 are left, they share by size.
    """
    sizes, ratios = np.asarray(sizes, dtype=np.int64), np.where(np.isnan(ratios), 1.0, ratios)
    counts = np.zeros(len(sizes), dtype=np.int64)
    open_ = sizes > 0
    while left := coreset_size - int(counts.sum()):
        weights = np.where(open_, sizes * ratios, 0.0)
        if not weights.any():
            weights = np.where(open_, sizes, 0).astype(np.float64)
        weights /= weights.max()  # a sum of greatest floats overflows
        shares = left * (weights / weights.sum())
        full = open_ & (shares >= sizes)
        if full.any():
            counts[full] = sizes[full]
            open_ &= ~full
            continue
        counts[open_] = np.floor(shares[open_] * _ROUNDING).astype(np.int64)
        remainders = np.where(open_ & (counts < sizes), shares - counts, -1.0).round(9)
        most = np.argsort(-remainders, kind="stable")[: coreset_size - int(counts.sum())]
        counts[most] += 1
    return counts


def _serve(room: list[int], ratios: list[float], left: int, divide: _Parts) -> list[int]:
    """What strata with room, in the order of the walk, get in one walk or in some equal ones."""
    parts = divide(ratios)
    ratios = [1.0 if math.isnan(ratio) else ratio for ratio in ratios]
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
    """Σ_{j∈𝓑} V_j at each stratum's turn; |𝓑| at that of a stratum without a ratio."""
    sums = np.cumsum(np.nan_to_num(ratios)[::-1])[::-1].tolist()
    return [
        count if math.isnan(ratio) else whole
        for ratio, count, whole in zip(ratios, _strata_to_serve(ratios), sums, strict=True)
    ]


_RULES: dict[str, _Rule] = {
    "paper": _walked(_strata_to_serve, without=1.0),
    "normalized": _walked(_ratios_to_serve, without=math.nan),
    "proportional": _proportional,
}
ALLOCATIONS = tuple(_RULES)
