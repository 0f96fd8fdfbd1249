"""The statistics of the experiment, against values worked out by hand or by simulation."""

import numpy as np
import pytest

from benchmarks.evidence import analysis


def test_the_gap_closed_is_0_for_random_and_1_for_the_full_data():
    random, full = np.array([3.0, 3.2]), np.array([2.1])
    assert analysis.gap_closed(random, random, full) == 0.0
    assert analysis.gap_closed(full, random, full) == pytest.approx(1.0)
    assert analysis.gap_closed(random + 1.0, random, full) == pytest.approx(-1.0)


def test_tasks_count_once_however_many_data_sets_they_have():
    estimate = analysis.over_tasks({"a": [0.1, 0.3], "b": [0.4]})
    assert estimate.value == pytest.approx(0.3)
    assert estimate.high - estimate.value == pytest.approx(
        12.706 * 0.1, rel=1e-3
    )  # t with 1 degree of freedom
    with pytest.raises(ValueError, match="1 tasks"):
        analysis.over_tasks({"a": [0.1, 0.3]})


def test_holm_multiplies_the_smallest_p_most_and_never_falls():
    assert analysis.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert analysis.holm([0.5, 0.9]).tolist() == [1.0, 1.0]


def test_the_detectable_difference_is_that_of_tables_of_power():
    # Cohen's d for a paired t test at 5 % with 80 % power: 1.68 for 5 pairs, 1.00 for 10.
    assert analysis.detectable(1.0, 5) == pytest.approx(1.68, abs=0.01)
    assert analysis.detectable(1.0, 10) == pytest.approx(1.00, abs=0.01)
    assert analysis.detectable(0.1, 5) == pytest.approx(0.168, abs=0.001)


def test_the_deviation_is_pooled_over_groups_with_their_own_means():
    pooled = analysis.pooled_deviation([np.array([0.0, 2.0]), np.array([10.0, 14.0]), np.array([5.0])])
    assert pooled == pytest.approx(np.sqrt((2.0 + 8.0) / 2))
    assert np.isnan(analysis.pooled_deviation([np.array([1.0])]))


def test_the_interval_over_draws_holds_what_it_says(monkeypatch):
    monkeypatch.setattr(analysis, "DRAWS", 300)
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        pairs = [
            (
                rng.normal(0, 0.05, (5, 1)) + rng.normal(0, 0.3, (1, 100)) + rng.normal(0, 0.5, (5, 100)),
                np.zeros((5, 100)),
            )
            for _ in range(3)
        ]
        estimate = analysis.over_draws(pairs, seed=trial)
        held += estimate.low <= 0 <= estimate.high
    assert 0.92 <= held / 200 <= 1.0


def test_the_interval_over_draws_grows_with_the_held_out_sample_and_with_the_seeds():
    rng = np.random.default_rng(1)
    by_seed, by_sample = rng.normal(0, 0.1, (5, 1)), rng.normal(0, 1.0, (1, 200))
    zeros = np.zeros((5, 200))

    def width(differences):
        estimate = analysis.over_draws([(differences, zeros)])
        return estimate.high - estimate.low

    assert width(by_seed + by_sample) > width(by_seed + zeros) > 0
    assert width(by_seed + by_sample) > width(by_sample + zeros) > 0
