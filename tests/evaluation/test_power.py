"""Power of an evaluation: variances, intervals and detectable differences, checked by simulation."""

import numpy as np
import pytest
from scipy import stats

from staff_engine.errors import PlanError
from staff_engine.evaluation.power import (
    MOST_SEEDS,
    POWER,
    Spread,
    detectable,
    error_of,
    interval,
    seeds_for,
    spread_of,
)

SEEDS, ROWS = 5, 60
BY_SEED, BY_ROW, REST = 0.03**2, 0.25**2, 0.2**2
TRUE = Spread(SEEDS, ROWS, 0.0, BY_SEED, BY_ROW, REST)


def simulated(rng, effect=0.0, *, seeds=SEEDS, rows=ROWS, by_seed=BY_SEED, by_row=BY_ROW):
    of_seeds = rng.normal(0, np.sqrt(by_seed), (seeds, 1))
    of_rows = rng.normal(0, np.sqrt(by_row), (1, rows))
    return effect + of_seeds + of_rows + rng.normal(0, np.sqrt(REST), (seeds, rows))


def test_the_variances_are_those_that_the_differences_were_made_with():
    rng = np.random.default_rng(0)
    found = [spread_of(simulated(rng, 0.1)) for _ in range(600)]
    for name, true in (("mean", 0.1), ("by_seed", BY_SEED), ("by_row", BY_ROW), ("rest", REST)):
        assert np.mean([getattr(each, name) for each in found]) == pytest.approx(true, rel=0.2)


@pytest.mark.parametrize(
    "made",
    [
        {}, {"seeds": 3}, {"seeds": 2, "rows": 200}, {"by_seed": 0.2**2, "seeds": 3},
        {"by_row": 0.0, "seeds": 10}, {"by_seed": 0.0},
        {"by_row": 0.02**2, "by_seed": 0.02**2, "seeds": 3, "rows": 200},
    ],
)  # fmt: skip
def test_the_interval_has_the_true_difference_in_at_least_9_of_10_evaluations(made):
    rng = np.random.default_rng(1)
    intervals = [interval(spread_of(simulated(rng, 0.1, **made))) for _ in range(1500)]
    inside = np.mean([low <= 0.1 <= high for low, high in intervals])
    assert 0.9 <= inside <= 0.998


@pytest.mark.parametrize(
    "made", [{}, {"by_seed": 0.1**2}, {"by_row": 0.0, "by_seed": 0.1**2}], ids=["both", "seeds", "no rows"]
)
def test_a_detectable_difference_is_shown_in_about_80_percent_of_evaluations(made):
    rng = np.random.default_rng(2)
    true = Spread(SEEDS, ROWS, 0.0, made.get("by_seed", BY_SEED), made.get("by_row", BY_ROW), REST)
    effect = detectable(true)
    intervals = [interval(spread_of(simulated(rng, effect, **made))) for _ in range(1500)]
    assert np.mean([low > 0 for low, _ in intervals]) == pytest.approx(POWER, abs=0.07)


@pytest.mark.parametrize(
    "spread", [TRUE, Spread(2, 9, 0.0, 0.1, 0.0, 0.1), Spread(40, 500, 0.0, 0.1, 0.2, 0.3)]
)
def test_the_detectable_difference_follows_from_the_noncentral_t(spread):
    error = error_of(spread)
    bound = stats.t.ppf(0.975, error.freedom)
    distance = detectable(spread) / error.value
    assert stats.nct.sf(bound, error.freedom, distance) == pytest.approx(POWER, abs=1e-4)


def test_an_interval_over_seeds_alone_is_too_narrow_where_the_held_out_samples_decide():
    rng = np.random.default_rng(3)
    inside = {"seeds": 0, "both": 0}
    for _ in range(500):
        differences = simulated(rng)
        low, high = interval(spread_of(differences))
        inside["both"] += low <= 0 <= high
        means = differences.mean(axis=1)
        low, high = stats.t.interval(0.95, SEEDS - 1, means.mean(), stats.sem(means))
        inside["seeds"] += low <= 0 <= high
    assert inside["seeds"] / 500 < 0.8 < 0.92 <= inside["both"] / 500


def test_more_seeds_reduce_the_error_down_to_that_of_the_held_out_samples():
    errors = [error_of(TRUE, seeds).value for seeds in (2, 5, 20, 10_000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(np.sqrt(BY_ROW / ROWS), rel=0.01)


def test_the_seeds_for_a_difference_are_the_fewest_that_can_show_it():
    effect = 0.11
    seeds = seeds_for(effect, TRUE)
    assert 2 < seeds < MOST_SEEDS
    assert detectable(TRUE, seeds) <= effect < detectable(TRUE, seeds - 1)
    assert seeds_for(10.0, TRUE) == 2


def test_no_number_of_seeds_makes_up_for_too_few_held_out_samples():
    assert seeds_for(0.02, TRUE) is None
    assert seeds_for(0.02, Spread(SEEDS, 100 * ROWS, 0.0, BY_SEED, BY_ROW, REST)) is not None


def test_seeds_that_agree_in_every_sample_leave_nothing_to_chance():
    found = spread_of(np.full((3, 4), 0.1))
    assert interval(found) == pytest.approx((0.1, 0.1))
    assert detectable(found) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        (np.zeros((1, 9)), r"differences are \(1, 9\); allowed: at least 2 seeds and 2 held-out samples"),
        (np.zeros((3, 1)), r"differences are \(3, 1\)"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), "not all finite"),
    ],
)
def test_what_cannot_be_split_is_refused(differences, said):
    with pytest.raises(PlanError, match=said):
        spread_of(differences)
