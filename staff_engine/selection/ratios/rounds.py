"""Adaptive verification: spend the budget of target scores where the coreset is the least certain.

Even verification scores b_v samples in each stratum. Some strata need fewer, because their verified
samples agree or because their budget is small. Others need more. Adaptive verification scores a few
samples in each stratum first. Then it works in rounds: each scores the samples that narrow the
intervals of the budgets most.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.allocation import ALLOCATIONS
from staff_engine.selection.coreset import Selection, select_coreset
from staff_engine.selection.pool import Pool
from staff_engine.selection.verification import draw_verification

FIRST = 0.4
"""Share of the verification budget of each stratum that is scored in the first round."""
FEWEST = 2
"""Fewest samples of a stratum in the first round: with one, there is no interval."""
ROUNDS = 4
"""Number of rounds in which the rest is spent."""
STOP = 0.01
"""No further round if the last one changed less than this share of the coreset."""
NARROW = 0.5
"""An interval of a budget below this number of samples needs no further ones."""

NOT_ADAPTIVE = "paper"
"""The allocation whose budgets depend on the scale of the ratios. Their mean over all verified samples is
1, so the scale is only right if each stratum has the same number of them."""


def check_adaptive(allocation: str) -> None:
    """Raise PlanError if adaptive verification cannot be used with this allocation."""
    if allocation == NOT_ADAPTIVE:
        raise PlanError(
            f"adaptive verification does not work with allocation {allocation!r}, whose budgets need the same"
            " number of verified samples in each stratum; allowed: "
            + ", ".join(name for name in ALLOCATIONS if name != NOT_ADAPTIVE)
        )


def draw_round(
    pool: Pool,
    verified_ids: np.ndarray,
    verified_scores: np.ndarray,
    *,
    per_stratum: int,
    last_round: Sequence[int] | np.ndarray = (),
    excluded: Sequence[int] | np.ndarray = (),
    pruning_rate: float,
    ratio: str = "paper",
    allocation: str = "proportional",
    **settings: Any,
) -> np.ndarray:
    """Draw the samples that the target scores in the next round.

    Parameters
    ----------
    pool : Pool
        The speculative scores.
    verified_ids, verified_scores
        What the target has scored so far, in all rounds.
    per_stratum : int
        b_v of even verification. Over all strata, at most as many samples are verified as it would.
    last_round : int (r,)
        Row ids of the last round, if there was one after the first.
    excluded : int (n,)
        Row ids that must never be verified.
    pruning_rate, ratio, allocation, **settings
        As in `coreset.select_coreset`.

    Returns
    -------
    int64
        Row ids, ascending; empty if the budget is spent, if the last round changed less than
        `STOP` of the coreset, or if no interval is left to narrow.

    Raises
    ------
    PlanError
        If a setting is not allowed, or the allocation is `NOT_ADAPTIVE`.

    Notes
    -----
    Not in the paper. In a stratum, the samples are drawn in the order of even verification.
    """
    check_adaptive(allocation)
    drawn: dict[str, Any] = {"pruning_rate": pruning_rate, "excluded": excluded, **settings}
    most = len(draw_verification(pool, per_stratum=per_stratum, **drawn))
    first = min(per_stratum, max(FEWEST, math.ceil(FIRST * per_stratum)))
    begun = draw_verification(pool, per_stratum=first, verified=verified_ids, **drawn)
    if len(begun):
        return begun
    choice = {"pruning_rate": pruning_rate, "ratio": ratio, "allocation": allocation, **settings}
    now = select_coreset(pool, verified_ids, verified_scores, **choice)
    if len(last_round):
        earlier = ~np.isin(verified_ids, last_round)
        before = select_coreset(pool, verified_ids[earlier], verified_scores[earlier], **choice)
        if share_moved(before, now) < STOP:
            return np.zeros(0, np.int64)
    inside = now.labels[verified_ids]
    verified = np.bincount(inside[inside >= 0], minlength=len(now.sizes))
    barred = now.labels[np.asarray(excluded, dtype=np.int64)]
    room = now.sizes - np.bincount(barred[barred >= 0], minlength=len(now.sizes))
    start = int(np.minimum(first, room).sum())
    left = most - int(verified.sum())
    count = min(left, max(1, math.ceil((most - start) / ROUNDS)))
    wanted = spend(now, verified, room, count)
    return draw_verification(pool, per_stratum=wanted, verified=verified_ids, **drawn)


def share_moved(before: Selection, after: Selection) -> float:
    """The share of the coreset that differs between two selections with the same strata, 0 to 1.

    A larger budget of a stratum only adds samples to a smaller one, so the budgets tell.
    """
    return float(np.abs(after.budget - before.budget).sum()) / (2 * int(after.budget.sum()))


def spend(selection: Selection, verified: np.ndarray, room: np.ndarray, count: int) -> np.ndarray:
    """Give further samples to strata, one by one, each where it narrows the interval of the budget most.

    Parameters
    ----------
    selection
        The coreset so far.
    verified, room : int (K,)
        For each stratum, the number of verified samples and of all that can be.
    count : int
        Number of samples to give, 0 or more.

    Returns
    -------
    int64 (K,)
        The number of samples that each stratum should have verified, at most its room. Their sum
        exceeds that of `verified` by `count`, or by less if no interval is left to narrow.

    Notes
    -----
    The interval of a budget is the budget times the interval of the ratio, at most the size of the
    stratum. Its square falls with the number of samples n as 1/n, so a further sample is worth
    width²·n₀·(1/n - 1/(n + 1)), where n₀ samples gave this width. This is Neyman's allocation
    (Journal of the Royal Statistical Society 1934), which has the least sum of squared widths.
    """
    squares = _widths(selection) ** 2 * np.maximum(verified, 1)
    wanted = np.array(verified, dtype=np.int64)

    def worth(index: int) -> float:
        return float(squares[index] / (max(1, wanted[index]) * (wanted[index] + 1)))

    queue = [(-worth(index), index) for index in np.flatnonzero(squares).tolist()]
    heapq.heapify(queue)
    while count > 0 and queue:
        _, index = heapq.heappop(queue)
        if wanted[index] < room[index]:
            wanted[index] += 1
            count -= 1
            heapq.heappush(queue, (-worth(index), index))
    return wanted


def _widths(selection: Selection) -> np.ndarray:
    """The width of the interval of each stratum's budget, in samples, float64 (K,); 0 if narrow."""
    low, high = selection.ratio_intervals
    known = np.isfinite(high) & (selection.ratios > 0)
    widths = np.zeros(len(selection.sizes))
    budget, ratios = selection.budget[known], selection.ratios[known]
    top = np.minimum(budget * (high[known] / ratios), selection.sizes[known])
    widths[known] = top - budget * (low[known] / ratios)
    return np.where(widths < NARROW, 0.0, widths)
