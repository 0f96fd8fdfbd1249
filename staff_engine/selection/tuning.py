"""Tuning: the samples on which the target is fine-tuned before it verifies others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from staff_engine.selection.allocation import allocate
from staff_engine.selection.drawing import VERIFICATION
from staff_engine.selection.order.partial_order import first_at_random
from staff_engine.selection.pool import Pool
from staff_engine.selection.verification import mark_rows, strata_to_draw_from


def draw_tuning(
    speculative: np.ndarray | Pool,
    *,
    count: int,
    apart_from: Sequence[int] | np.ndarray = (),
    num_strata: int = 50,
    strata_by: str = "width",
    drop_hardest: float = 0.1,
    drop_scores: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    pruning_rate: float | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Draw the samples on which the target is fine-tuned before it verifies.

    They are from the strata that verification draws from, an equal number from each, or all that
    a stratum has. In a stratum they are the last ones in the order of verification. So a later
    draw, of more samples or from other strata, reaches them last.

    Parameters
    ----------
    speculative, num_strata, strata_by, drop_hardest, drop_scores, groups, pruning_rate, seed
        As in `verification.draw_verification`.
    count : int
        Number of samples to draw, 0 or more.
    apart_from : int (n,)
        Row ids, 0 to N - 1, that must not be drawn: samples that are or will be verified.

    Returns
    -------
    int64
        Row ids, ascending: `count` of them, or all available ones if there are fewer.

    Raises
    ------
    DatasetError
        If no score is finite.
    PlanError
        If a setting is out of range.
    ValueError
        If a score is negative, or a row id is out of range.

    Notes
    -----
    Not in the paper, where the target is not fine-tuned. Tuning has no stream of priorities of its
    own, because the stream after `SELECTION` is the verification stream of the next seed.
    """
    pool = Pool.of(speculative)
    _, strata = strata_to_draw_from(
        pool,
        num_strata=num_strata,
        strata_by=strata_by,
        drop_hardest=drop_hardest,
        drop_scores=drop_scores,
        groups=groups,
        pruning_rate=pruning_rate,
    )
    free = strata.without(mark_rows(apart_from, len(pool), "apart_from"))
    drawn = min(count, int(free.sizes.sum()))
    counts = allocate(free.sizes, np.ones(len(free.sizes)), drawn)
    first = first_at_random(free, free.sizes - counts, seed=seed, stream=VERIFICATION)
    return np.flatnonzero(free.without(mark_rows(first, len(pool), "first")).labels >= 0)
