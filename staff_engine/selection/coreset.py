"""From scores to a coreset: strata, ratios, counts and the draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.allocation import allocate
from staff_engine.selection.cuts.cut import cut
from staff_engine.selection.drawing import SELECTION
from staff_engine.selection.pool import Pool
from staff_engine.selection.ratios.calibration import follows_score
from staff_engine.selection.ratios.rules import EQUAL, ratios_by
from staff_engine.selection.strata import Strata, coreset_size
from staff_engine.selection.verification import Ratios

if TYPE_CHECKING:
    import pandas as pd

_Draw = Callable[[Pool, Strata, np.ndarray, int], np.ndarray]


def _at_random(pool: Pool, strata: Strata, budget: np.ndarray, seed: int) -> np.ndarray:
    return pool.first_at_random(strata, budget, seed=seed, stream=SELECTION)


def _hardest(pool: Pool, strata: Strata, budget: np.ndarray, seed: int) -> np.ndarray:
    return pool.first_hardest(strata, budget)


def _diverse(pool: Pool, strata: Strata, budget: np.ndarray, seed: int) -> np.ndarray:
    return pool.first_diverse(strata, budget, seed=seed, stream=SELECTION)


_DRAWS: dict[str, _Draw] = {"random": _at_random, "hardest": _hardest, "diverse": _diverse}
WITHIN = tuple(_DRAWS)

LITTLE_BUT_SCORE = 0.8
"""If 1/S explains at least this share of the variance of ln V_i, a warning is given."""


@dataclass(frozen=True, eq=False)
class Selection:
    """A coreset and how it was selected; returned by `select_coreset`.

    Attributes
    ----------
    indices : int64 (m,)
        Row ids of the coreset, ascending, each once.
    labels : int16 (N,)
        Stratum of every sample, read-only: 0 is the easiest, -1 a sample dropped as one of the
        hardest, -2 a sample without a score, -3 a near duplicate that is left out.
    edges : float64 (K + 1,)
        Bounds of the strata, in the unit of the speculative score.
    sizes, verified, budget : int64 (K,)
        For each stratum, the number of samples, of verified samples, and of samples in the coreset.
    ratios : float64 (K,)
        The ratios that determined the budget; NaN where the rule gives none.
    paper_ratios : float64 (K,)
        The paper's V_i = ΣS^t / ΣS^s, for every rule.
    duplicates : int64 (d, 2)
        Row ids of near duplicates that are left out, and of the samples kept in their place.
    score : str
        The name of the score, if it comes from a run; see `scores.SCORES`.
    warnings : tuple of str
        What the user should know before using the coreset, one sentence each.
    """

    indices: np.ndarray
    labels: np.ndarray = field(repr=False)
    edges: np.ndarray = field(repr=False)
    sizes: np.ndarray = field(repr=False)
    verified: np.ndarray = field(repr=False)
    ratios: np.ndarray = field(repr=False)
    paper_ratios: np.ndarray = field(repr=False)
    budget: np.ndarray = field(repr=False)
    duplicates: np.ndarray = field(repr=False)
    warnings: tuple[str, ...]
    _intervals: Callable[[], tuple[np.ndarray, np.ndarray]] = field(repr=False)
    score: str = "effort"

    @property
    def ratio_intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the 95 % interval of each ratio, float64 (K,); NaN if fewer than 2 are verified."""
        return self._intervals()

    @cached_property
    def strata(self) -> pd.DataFrame:
        """A row for each stratum, including empty ones, from the easiest to the hardest.

        Columns: stratum; low and high, its edges (high belongs to the next stratum, except
        in the last one); size, its number of samples; verified, its verified samples; ratio,
        which determined its budget; ratio_low and ratio_high, the 95 % interval of the
        quotient behind the ratio (NaN if fewer than 2 are verified); paper_ratio, the
        paper's ratio; budget, its samples in the coreset. Computed on first access.
        """
        import pandas as pd

        low, high = self.ratio_intervals
        return pd.DataFrame(
            {
                "stratum": np.arange(len(self.sizes)),
                "low": self.edges[:-1],
                "high": self.edges[1:],
                "size": self.sizes,
                "verified": self.verified,
                "ratio": self.ratios,
                "ratio_low": low,
                "ratio_high": high,
                "paper_ratio": self.paper_ratios,
                "budget": self.budget,
            }
        )


def select_coreset(
    speculative: np.ndarray | Pool,
    verified_ids: Sequence[int] | np.ndarray = (),
    verified_scores: Sequence[float] | np.ndarray = (),
    *,
    pruning_rate: float,
    num_strata: int = 50,
    strata_by: str = "width",
    ratio: str = "paper",
    allocation: str = "paper",
    within: str = "random",
    drop_hardest: float = 0.1,
    drop_scores: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> Selection:
    """Select the coreset from scores, the second stage of STAFF. No model is run.

    Parameters
    ----------
    speculative : float (N,)
        Effort of every sample on the small model, 0 or more, higher is harder. A value that
        is not finite marks an unscorable sample, which is never selected. Pass a `Pool` of
        the scores to select repeatedly: later calls are faster.
    verified_ids : int (n,)
        Row ids of the samples that the target has scored, each once, in any order.
    verified_scores : float (n,)
        Their effort on the target, 0 or more. Values that are not finite are ignored.
    pruning_rate : float
        Fraction of the scorable samples to remove, 0 or more and below 1.
    num_strata : int
        K, 1 to 10,000.
    strata_by : {"width", "log", "quantile"}
        How the score is divided into strata; see `strata.stratify`.
    ratio : {"paper", "calibrated", "released", "equal"}
        How the ratios are computed; see `ratios.rules.ratios_by`.
    allocation : {"paper", "normalized", "proportional"}
        How ratios determine the counts; see `allocation.allocate`.
    within : {"random", "hardest", "diverse"}
        Which samples of a stratum to keep: random ones (the paper), those with the highest
        scores (the released code), or those whose embeddings represent the others best
        (`diverse.spread`; needs a `Pool` with embeddings).
    drop_hardest : float
        Fraction of the highest scores to leave out, 0 or more and below 1. Fewer samples are
        left out, with a warning, if the coreset needs them.
    drop_scores : float (N,), optional
        Another score of every sample, whose highest values are left out instead.
    groups : int (N,), optional
        Number of the group of near duplicates of each sample. All but the first of a group are left
        out, before the hardest. Fewer are left out, with a warning, if the coreset needs them.
    seed : int
        0 to 2**63 - 1.

    Returns
    -------
    Selection
        Its `indices` are exactly m = max(1, round((1 - pruning_rate)·scorable)) row ids.

    Raises
    ------
    DatasetError
        If no score is finite.
    PlanError
        If a setting is not allowed.
    ValueError
        If scores are negative or not one-dimensional, or the verified row ids do not
        fit the scores.

    Notes
    -----
    STAFF (Zhang et al., ICLR 2025), Algorithm 1, second stage. The hardest samples are dropped
    as in the released code and in CCS. Each module documents its deviations.

    Examples
    --------
    >>> import numpy as np
    >>> selection = select_coreset(np.arange(20.0), [0, 9, 17], [3, 4, 5], pruning_rate=0.8, num_strata=2)
    >>> len(selection.indices)
    4
    >>> selection.strata[["low", "high", "size", "verified", "budget"]].values.tolist()
    [[0.0, 8.5, 9.0, 1.0, 3.0], [8.5, 17.0, 9.0, 2.0, 1.0]]
    """
    pool = Pool.of(speculative)
    size = coreset_size(pool.scorable, pruning_rate)
    left = cut(pool, keep=size, drop_hardest=drop_hardest, drop_scores=drop_scores, groups=groups)
    strata = left.pool.strata(num_strata=num_strata, by=strata_by, dropped=left.dropped)
    ratios, paper = ratios_by(ratio, strata, left.pool.scores, verified_ids, verified_scores)
    draw = _drawn_by(within)
    budget = allocate(strata.sizes, ratios.values, size, allocation=allocation)
    return Selection(
        indices=draw(left.pool, strata, budget, seed),
        labels=left.labels_of(strata),
        edges=strata.edges,
        sizes=strata.sizes,
        verified=ratios.verified,
        ratios=ratios.values,
        paper_ratios=paper.values,
        budget=budget,
        duplicates=left.duplicates,
        warnings=(
            *left.warnings,
            *(() if ratio == EQUAL else _about_verified(strata, paper)),
            *_about_ratios(ratio, paper),
        ),
        _intervals=ratios.intervals,
    )


def _drawn_by(within: str) -> _Draw:
    if within not in _DRAWS:
        raise PlanError(f"within is {within!r}; allowed: {', '.join(WITHIN)}")
    return _DRAWS[within]


def _about_ratios(rule: str, paper: Ratios) -> tuple[str, ...]:
    explained = follows_score(paper)
    if rule in ("calibrated", EQUAL) or explained < LITTLE_BUT_SCORE:
        return ()
    return (
        f"1/score explains {explained:.0%} of the ratios: the target's scores hardly depend on the small"
        " model's, so the easiest strata get most of the budget. Use calibrated ratios to avoid this effect.",
    )


def _about_verified(strata: Strata, ratios: Ratios) -> tuple[str, ...]:
    filled = strata.sizes > 0
    unverified = np.count_nonzero(filled & (ratios.verified == 0))
    warnings = []
    if ratios.ignored:
        warnings.append(f"{ratios.ignored:,} verified samples have no finite score and are ignored.")
    if not len(ratios.strata):
        warnings.append("No sample in the strata is verified, so every ratio is 1.")
    elif unverified:
        warnings.append(
            f"{unverified:,} of the {np.count_nonzero(filled):,} strata in use have no verified sample, so"
            " their ratio is 1."
        )
    if len(ratios.strata) and not ratios.speculative.any():
        warnings.append("The scores of the verified samples sum to 0 on one model, so every ratio is 1.")
    return tuple(warnings)
