"""Which difference between two arms an evaluation could have shown, given its seeds and held-out samples.

The same held-out samples judge every seed, so a difference of losses has two sources of chance: the seed
(which samples were selected, how training went) and the held-out samples. More seeds reduce only the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from staff_engine.errors import PlanError

CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 200
"""More seeds than this are not recommended; nobody would wait for them."""
WANTED = 0.02
"""The difference in nats for which an evaluation says how many more seeds it needs."""


@dataclass(frozen=True)
class Spread:
    """The mean of paired differences, and the variances of its sources of chance.

    Attributes
    ----------
    seeds, rows
        Seeds and held-out samples, at least two of each.
    mean
        Mean difference over both.
    by_seed, by_row
        Variance between seeds and between held-out samples, 0 or more.
    rest
        Variance that neither explains.
    """

    seeds: int
    rows: int
    mean: float
    by_seed: float
    by_row: float
    rest: float


@dataclass(frozen=True)
class Power:
    """What an evaluation could have shown, with 80 % power."""

    held_out: int
    """Held-out samples."""
    detectable: float
    """The smallest true difference in nats that it would show."""
    more_seeds: int | None
    """Seeds to add to show `WANTED`; 0 if there are enough, None if more seeds alone are not enough."""


@dataclass(frozen=True)
class StandardError:
    """Standard error of a mean difference, and its degrees of freedom (Satterthwaite)."""

    value: float
    freedom: float


def spread_of(differences: np.ndarray) -> Spread:
    """Split the variance of paired differences between seeds and held-out samples.

    Parameters
    ----------
    differences : float (seeds, rows)
        Loss of one arm minus that of the other, with the same seed and on the same held-out sample.

    Raises
    ------
    PlanError
        If there are fewer than two seeds or rows, or a difference is not finite.

    Notes
    -----
    The two-way random model without repetition: d = mean + seed + row + rest. Variances are from the mean
    squares of the analysis of variance; a negative one counts as 0.
    """
    if differences.ndim != 2 or min(differences.shape) < 2:
        raise PlanError(
            f"differences are {differences.shape}; allowed: at least 2 seeds and 2 held-out samples"
        )
    if not np.isfinite(differences).all():
        raise PlanError(
            "differences are not all finite; allowed: losses of fine-tunings that did not diverge"
        )
    seeds, rows = differences.shape
    mean = float(differences.mean())
    of_seeds, of_rows = differences.mean(axis=1) - mean, differences.mean(axis=0) - mean
    left = differences - mean - of_seeds[:, None] - of_rows[None]
    rest = float((left**2).sum()) / ((seeds - 1) * (rows - 1))
    between_seeds = rows * float((of_seeds**2).sum()) / (seeds - 1)
    between_rows = seeds * float((of_rows**2).sum()) / (rows - 1)
    return Spread(
        seeds=seeds, rows=rows, mean=mean, rest=rest,
        by_seed=max(0.0, (between_seeds - rest) / rows), by_row=max(0.0, (between_rows - rest) / seeds),
    )  # fmt: skip


def error_of(spread: Spread, seeds: int | None = None) -> StandardError:
    """The standard error of the mean difference, with the seeds of the evaluation or with another number."""
    seeds, rows = seeds or spread.seeds, spread.rows
    cells = seeds * rows
    parts = (  # mean squares over the number of cells, sign in the sum, degrees of freedom
        ((rows * spread.by_seed + spread.rest) / cells, 1, seeds - 1),
        ((seeds * spread.by_row + spread.rest) / cells, 1, rows - 1),
        (spread.rest / cells, -1, (seeds - 1) * (rows - 1)),
    )
    variance = sum(sign * part for part, sign, _ in parts)
    uncertainty = sum(part**2 / freedom for part, _, freedom in parts)
    freedom = variance**2 / uncertainty if uncertainty else float(seeds - 1)
    return StandardError(math.sqrt(variance), max(1.0, freedom))


def interval(spread: Spread) -> tuple[float, float]:
    """The 95 % interval of the mean difference over other seeds and other held-out samples."""
    error = error_of(spread)
    half = _bound(error.freedom) * error.value
    return spread.mean - half, spread.mean + half


def detectable(spread: Spread, seeds: int | None = None) -> float:
    """The smallest true difference that 80 % of evaluations would show: their interval is on its side of 0.

    Parameters
    ----------
    seeds
        A number of seeds instead of that of the evaluation; at least 2.
    """
    from scipy.special import nctdtrinc

    error = error_of(spread, seeds)
    # The noncentrality at which t exceeds its bound with the wanted power.
    return float(nctdtrinc(error.freedom, 1 - POWER, _bound(error.freedom))) * error.value


def _bound(freedom: float) -> float:
    """The multiple of a standard error that is half of a 95 % interval (Student's t)."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def seeds_for(effect: float, spread: Spread) -> int | None:
    """The fewest seeds with which a true difference would be shown with 80 % power.

    Parameters
    ----------
    effect
        The difference, above 0.

    Returns
    -------
    int or None
        At least 2. None if more than `MOST_SEEDS` are needed, or if the held-out samples alone leave too
        much to chance: more of these are needed then.
    """
    if detectable(spread, MOST_SEEDS) > effect:
        return None
    low, high = 2, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable(spread, middle) <= effect else (middle + 1, high)
    return low


def power_of(spread: Spread) -> Power:
    """What the evaluation could have shown, and the seeds that it lacks."""
    needed = seeds_for(WANTED, spread)
    more = None if needed is None else max(0, needed - spread.seeds)
    return Power(spread.rows, detectable(spread), more)
