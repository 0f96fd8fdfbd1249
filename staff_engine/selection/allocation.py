"""From sizes and ratios of strata to the number of samples of each stratum in the coreset."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from staff_engine.errors import PlanError

_Rule = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Sizes, ratios and m → counts, each (K,)."""

_Parts = Callable[[list[float]], list[float]]
"""Ratios in the order of the walk → the divisor for each stratum: its share is left·V_i / divisor."""

_ROUNDING = 1 + 1e-12
"""Factor that raises a share to a whole number if a rounding error put it just below."""


def allocate(
    sizes: np.ndarray, ratios: np.ndarray, coreset_size: int, *, allocation: str = "paper"
) -> np.ndarray:
    """Return the number of samples to select from each stratum, exactly `coreset_size` in total.

    Strata are processed in a walk from the smallest to the largest; equal sizes by index. Each gets
    the floor of its share of the remaining budget ("left"), at most its size:

    - "paper": left·V_i / |𝓑|, where 𝓑 is this stratum and all later ones (STAFF, Algorithm 1);
    - "normalized": left·V_i / Σ_{j∈𝓑} V_j (the released code);
    - "proportional": in proportion to size times V_i, in one step without a walk (ours). If every
      ratio is 1, the coreset has the distribution of the data.

    For the first two rules, the walk is repeated over the strata with room until no budget is left. If
    a walk assigns nothing, each stratum gets one sample, highest ratio first, equal ratios in the order
    of the walk.

    Parameters
    ----------
    sizes : int (K,)
        Samples in each stratum. Empty strata get nothing.
    ratios : float64 (K,)
        Verification ratios V_i, finite and 0 or more; a higher ratio gets more samples. NaN marks a
        stratum without a ratio: "normalized" gives it left/|𝓑|, the other rules use 1.
    coreset_size : int
        m, 0 to the sum of the sizes.
    allocation : {"paper", "normalized", "proportional"}
        The rule.

    Returns
    -------
    int64 (K,)
        Counts, each from 0 to the size of the stratum; their sum is m.

    Raises
    ------
    PlanError
        If the rule is unknown.
    ValueError
        If the strata have fewer than m samples.

    Notes
    -----
    The paper has one walk, which can end with fewer than m samples if ratios are below 1 or strata
    are small. The walks after the first are our addition.
    """
    if allocation not in ALLOCATIONS:
        raise PlanError(f"allocation is {allocation!r}; allowed: {', '.join(ALLOCATIONS)}")
    total = int(np.sum(sizes))
    if not 0 <= coreset_size <= total:
        raise ValueError(f"coreset_size is {coreset_size}; allowed: 0 to the strata's {total} samples")
    return _RULES[allocation](sizes, ratios, coreset_size)


def _walked(parts: _Parts, *, without: float) -> _Rule:
    """A rule that walks over the strata; `without` is used for strata that have no ratio."""

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

    If the share of a stratum exceeds its size, all its samples are taken and the rest of the budget
    is divided again. If only strata with ratio 0 remain, the budget is divided by size.
    """
    sizes, ratios = np.asarray(sizes, dtype=np.int64), np.where(np.isnan(ratios), 1.0, ratios)
    counts = np.zeros(len(sizes), dtype=np.int64)
    open_ = sizes > 0
    while left := coreset_size - int(counts.sum()):
        weights = np.where(open_, sizes * ratios, 0.0)
        if not weights.any():
            weights = np.where(open_, sizes, 0).astype(np.float64)
        weights /= weights.max()  # a sum of the largest floats overflows
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
    """Counts for strata with room, in the order of the walk, from one walk or several equal ones."""
    parts = divide(ratios)
    ratios = [1.0 if math.isnan(ratio) else ratio for ratio in ratios]
    counts = _walk(room, ratios, parts, left)
    placed = sum(counts)
    if not placed:
        return _one_each(room, ratios, left)
    most = min(free // count for free, count in zip(room, counts, strict=True) if count)
    times = 1
    # Shares fall with the remaining budget, so all walks between two equal ones are equal too.
    # With ratios near 0, single walks would need a million steps.
    while 2 * times <= most and _walk(room, ratios, parts, left - (2 * times - 1) * placed) == counts:
        times *= 2
    return [times * count for count in counts]


def _walk(room: list[int], ratios: list[float], parts: list[float], left: int) -> list[int]:
    """The floor of each share, at most the room of the stratum and the remaining budget."""
    counts = []
    for free, ratio, whole in zip(room, ratios, parts, strict=True):
        share = left * ratio / whole * _ROUNDING if whole else 0.0
        counts.append(min(math.floor(min(share, left)), free))
        left -= counts[-1]
    return counts


def _one_each(room: list[int], ratios: list[float], left: int) -> list[int]:
    """One sample per stratum, by ratio, repeated while a walk over the rest would also assign nothing."""
    times = min(left // len(room), *room)
    if times:
        return [times] * len(room)
    counts = [0] * len(room)
    for stratum in sorted(range(len(room)), key=lambda stratum: -ratios[stratum])[:left]:
        counts[stratum] = 1
    return counts


def _strata_to_serve(ratios: list[float]) -> list[float]:
    """|𝓑| for each stratum of the walk."""
    return [float(count) for count in range(len(ratios), 0, -1)]


def _ratios_to_serve(ratios: list[float]) -> list[float]:
    """Σ_{j∈𝓑} V_j for each stratum of the walk; |𝓑| for a stratum without a ratio."""
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
