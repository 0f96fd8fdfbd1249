"""How well two models' scores agree."""

import time

import numpy as np
import pytest
from scipy import stats

from staff_engine.selection import agreement
from staff_engine.selection.agreement import rank_agreement, rank_correlation


def pair(count, noise=1.0, seed=1):
    generator = np.random.default_rng(seed)
    first = generator.lognormal(size=count)
    return first, first * generator.lognormal(sigma=noise, size=count)


def test_the_correlations_are_those_of_scipy_also_with_ties():
    first, second = pair(300)
    first = np.round(first, 1) + 0.1  # many equal scores
    found = rank_agreement(first, second)
    assert found.spearman == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)
    assert found.pearson_log == pytest.approx(stats.pearsonr(np.log(first), np.log(second)).statistic)
    assert found.samples == 300


def test_the_interval_is_that_of_a_slow_bootstrap():
    first, second = pair(120)
    generator = np.random.default_rng(3)
    slow = []
    for _ in range(2000):
        chosen = generator.integers(0, 120, 120)
        slow.append(stats.spearmanr(first[chosen], second[chosen]).statistic)
    found = rank_agreement(first, second)
    assert [found.low, found.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.025)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    truth = rank_agreement(*pair(200_000)).spearman
    held = [
        found.low <= truth <= found.high for found in (rank_agreement(*pair(100, seed=s)) for s in range(100))
    ]
    assert 88 <= sum(held) <= 100


def test_a_large_set_has_the_interval_of_the_full_bootstrap(monkeypatch):
    first, second = pair(12_000)
    fast = rank_agreement(first, second)
    monkeypatch.setattr(agreement, "LARGEST_RESAMPLE", 12_000)
    full = rank_agreement(first, second)
    assert (fast.low, fast.high) != (full.low, full.high)
    assert fast.high - fast.low == pytest.approx(full.high - full.low, rel=0.2)
    assert (fast.low, fast.high) == pytest.approx((full.low, full.high), abs=0.004)


def test_pairs_with_a_score_missing_are_left_out():
    first, second = pair(50)
    first[3], second[7] = np.nan, np.inf
    rest = [i for i in range(50) if i not in (3, 7)]
    assert rank_agreement(first, second) == rank_agreement(first[rest], second[rest])


def test_a_score_of_zero_counts_in_the_ranks_but_has_no_logarithm():
    first, second = pair(50)
    first[0] = 0.0
    found = rank_agreement(first, second)
    assert found.spearman == pytest.approx(stats.spearmanr(first, second).statistic)
    assert found.pearson_log == pytest.approx(stats.pearsonr(np.log(first[1:]), np.log(second[1:])).statistic)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_samples_have_no_correlation(count):
    found = rank_agreement(*pair(count))
    assert found.samples == count
    assert np.isnan([found.spearman, found.low, found.high, found.pearson_log]).all()
    assert found.sentence.startswith(f"{count} samples")


def test_equal_scores_have_no_correlation():
    found = rank_agreement(np.ones(20), np.arange(20.0))
    assert np.isnan([found.spearman, found.low, found.high, found.pearson_log]).all()


def test_full_agreement_is_one_and_its_opposite_minus_one():
    up = rank_agreement(np.arange(10.0), np.arange(10.0) ** 2)
    assert (up.spearman, up.low, up.high) == (1, 1, 1)
    assert "as a rule" in up.sentence
    down = rank_agreement(np.arange(10.0), -np.arange(10.0))
    assert (down.spearman, down.low, down.high) == (-1, -1, -1)
    assert "easy for the target" in down.sentence


def test_the_same_scores_give_the_same_interval():
    assert rank_agreement(*pair(80)) == rank_agreement(*pair(80))


def test_a_million_samples_take_about_a_second():
    first, second = pair(1_000_000)
    begin = time.process_time()
    found = rank_agreement(first, second)
    assert time.process_time() - begin < 5
    assert found.high - found.low < 0.01


def test_a_rank_correlation_alone_is_the_same():
    first, second = pair(80)
    first[4] = np.nan
    assert rank_correlation(first, second) == rank_agreement(first, second).spearman
    assert np.isnan(rank_correlation(first[:2], second[:2]))


# With response length held


def slow_partial(first, second, lengths):
    """By scipy's ranks and NumPy's least squares, one at a time."""
    ranks = stats.rankdata(lengths)
    basis = np.column_stack([np.ones(len(ranks)), ranks, ranks**2])
    residuals = []
    for values in (first, second):
        wanted = stats.rankdata(values)
        fit, *_ = np.linalg.lstsq(basis, wanted, rcond=None)
        residuals.append(wanted - basis @ fit)
    return stats.pearsonr(*residuals).statistic


def with_lengths(count, seed=1, common=0.5):
    generator = np.random.default_rng(seed)
    lengths = np.round(generator.lognormal(3, 1, count)) + 1
    hard = common * generator.normal(size=count)
    first, second = (np.exp(hard + 0.5 * generator.normal(size=count)) / np.sqrt(lengths) for _ in range(2))
    return first, second, lengths


@pytest.mark.parametrize("seed", range(5))
def test_the_partial_correlation_is_that_of_least_squares(seed):
    first, second, lengths = with_lengths(200, seed)
    found = rank_agreement(first, second, lengths=lengths)
    assert found.partial == pytest.approx(slow_partial(first, second, lengths), abs=1e-9)
    assert found.partial_low < found.partial < found.partial_high
    assert found.partial < found.spearman


def test_a_relation_to_length_that_bends_is_held_too():
    generator = np.random.default_rng(4)
    lengths = generator.permutation(400).astype(float)
    bend = (lengths - 200) ** 2
    first, second = (bend + generator.normal(0, 8000, 400) for _ in range(2))
    found = rank_agreement(first - first.min(), second - second.min(), lengths=lengths)
    assert found.spearman > 0.5
    assert abs(found.partial) < 0.15


def test_equal_lengths_hold_nothing():
    first, second = pair(100)
    found = rank_agreement(first, second, lengths=np.full(100, 7.0))
    assert found.partial == pytest.approx(found.spearman)
    assert (found.partial_low, found.partial_high) == pytest.approx((found.low, found.high))


def test_scores_that_length_determines_have_no_correlation_with_length_held():
    lengths = np.random.default_rng(0).permutation(100).astype(float) + 1
    found = rank_agreement(1 / lengths, 2 / np.sqrt(lengths), lengths=lengths)
    assert found.spearman == pytest.approx(1)
    assert np.isnan([found.partial, found.partial_low, found.partial_high]).all()


def test_the_partial_interval_holds_the_truth_about_as_often_as_it_says():
    truth = rank_agreement(*with_lengths(100_000, 99)[:2], lengths=with_lengths(100_000, 99)[2]).partial
    held = []
    for seed in range(100):
        first, second, lengths = with_lengths(100, seed)
        found = rank_agreement(first, second, lengths=lengths)
        held.append(found.partial_low <= truth <= found.partial_high)
    assert 88 <= sum(held) <= 100


def test_without_lengths_or_with_few_samples_there_is_no_partial_correlation():
    first, second, lengths = with_lengths(50)
    assert np.isnan(rank_agreement(first, second).partial)
    assert np.isnan(rank_agreement(first[:7], second[:7], lengths=lengths[:7]).partial)
