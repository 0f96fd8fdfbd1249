import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import adjusted_rand_score

from staff_engine.pipelines.similarity.measures import (
    Estimate,
    _adjusted_rand,
    _ks,
    compare_scores,
    correlate_ranks,
)
from staff_engine.selection.agreement import rank_agreement
from staff_engine.selection.strata import stratify

FIGURES = ("spearman", "pearson", "ks", "wasserstein", "strata", "hardest")


@pytest.fixture
def target():
    return np.random.default_rng(0).lognormal(0, 0.7, 300)


def alike(target, spread, unit=1.0):
    return unit * target * np.random.default_rng(1).lognormal(0, spread, len(target))


def values(likeness):
    return {name: getattr(likeness, name).value for name in FIGURES}


def test_a_model_is_fully_like_itself_whatever_the_unit(target):
    found = compare_scores(target, 4 * target, num_strata=10)
    assert values(found) == pytest.approx(
        {"spearman": 1, "pearson": 1, "ks": 0, "wasserstein": 0, "strata": 1, "hardest": 1}, abs=1e-12
    )
    assert found.samples == 300


def test_the_figures_are_those_of_scipy_and_of_counting(target):
    candidate = alike(target, 0.5)
    found = values(compare_scores(target, candidate, num_strata=10))
    scaled = target / np.median(target), candidate / np.median(candidate)
    assert found["spearman"] == pytest.approx(stats.spearmanr(target, candidate).statistic)
    assert found["pearson"] == pytest.approx(stats.pearsonr(target, candidate).statistic)
    assert found["ks"] == pytest.approx(stats.ks_2samp(*scaled).statistic)
    assert found["wasserstein"] == pytest.approx(np.abs(np.sort(scaled[0]) - np.sort(scaled[1])).mean())
    labels = [stratify(scores, num_strata=10, dropped=30).labels for scores in (target, candidate)]
    assert found["strata"] == pytest.approx(adjusted_rand_score(*labels))
    hardest = [set(np.argsort(scores)[-30:].tolist()) for scores in (target, candidate)]
    assert found["hardest"] == pytest.approx(len(hardest[0] & hardest[1]) / 30)


def test_the_less_alike_two_models_are_the_worse_every_figure(target):
    near, far = (values(compare_scores(target, alike(target, by), num_strata=10)) for by in (0.1, 1.5))
    assert all(near[name] > far[name] for name in ("spearman", "pearson", "strata", "hardest"))
    assert all(near[name] < far[name] for name in ("ks", "wasserstein"))


def test_strata_and_hardest_of_unrelated_models_agree_as_by_chance():
    rng = np.random.default_rng(5)
    found = compare_scores(rng.random(2000), rng.random(2000), num_strata=10)
    assert found.strata.low < 0.01 and abs(found.strata.value) < 0.02
    assert found.hardest.low < 0.1 < found.hardest.high
    assert found.spearman.low < 0 < found.spearman.high


def test_more_samples_make_narrower_intervals():
    def width(count):
        target = np.random.default_rng(2).lognormal(0, 0.7, count)
        found = compare_scores(target, alike(target, 0.6), num_strata=10)
        return {name: getattr(found, name).high - getattr(found, name).low for name in FIGURES}

    few, many = width(60), width(1500)
    assert all(many[name] < few[name] for name in FIGURES)


def test_pairs_without_a_score_are_left_out(target):
    candidate = alike(target, 0.5)
    gaps = target.copy()
    gaps[:50] = np.nan
    assert compare_scores(gaps, candidate, num_strata=10) == compare_scores(
        target[50:], candidate[50:], num_strata=10
    )


def test_the_same_seed_gives_the_same_intervals(target):
    candidate = alike(target, 0.5)
    first, again, other = (compare_scores(target, candidate, num_strata=10, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first.hardest.value == other.hardest.value
    assert first != other


def test_too_few_samples_say_nothing():
    found = compare_scores(np.array([1.0, 2.0]), np.array([1.0, 2.0]), num_strata=10)
    assert found.samples == 2
    assert all(np.isnan(value) for value in values(found).values())


@settings(deadline=None)
@given(
    arrays(np.int64, (2, 15), elements=st.integers(-1, 4)),
    arrays(np.float64, (2, 9), elements=st.floats(0, 9)),
)
def test_ks_and_rand_index_are_those_of_the_libraries_with_ties_too(labels, scores):
    assert _adjusted_rand(*labels, 5) == pytest.approx(adjusted_rand_score(*labels))
    assert _ks(*np.sort(scores, axis=1)) == pytest.approx(stats.ks_2samp(*scores).statistic)


def test_equal_scores_have_no_correlation_and_one_stratum():
    found = compare_scores(np.ones(20), np.ones(20), num_strata=10)
    assert np.isnan(found.spearman.value)
    assert np.isnan(found.pearson.value)
    assert found.ks.value == found.wasserstein.value == 0


@settings(deadline=None)
@given(
    arrays(np.float64, (2, 12), elements=st.one_of(st.just(np.nan), st.just(0.0), st.floats(1e-3, 1e3))),
    st.integers(1, 40),
)
def test_every_figure_is_in_its_range_or_absent(scores, num_strata):
    found = values(compare_scores(*scores, num_strata=num_strata, resamples=5))
    ranges = {"spearman": (-1, 1), "pearson": (-1, 1), "ks": (0, 1), "strata": (-1, 1), "hardest": (0, 1)}
    for name, (low, high) in ranges.items():
        assert np.isnan(found[name]) or low - 1e-9 <= found[name] <= high + 1e-9
    assert np.isnan(found["wasserstein"]) or found["wasserstein"] >= 0


def test_the_rank_correlation_is_spearmans_with_its_interval():
    lengths = np.random.default_rng(3).integers(1, 100, 200)
    scores = 1 / lengths + np.random.default_rng(4).random(200) / 50
    found, held = correlate_ranks(scores, lengths)
    assert held is None
    assert found.value == pytest.approx(stats.spearmanr(scores, lengths).statistic)
    assert found.low < found.value < found.high < 0


def test_models_that_agree_only_on_the_lengths_agree_on_nothing_once_these_are_held():
    rng = np.random.default_rng(6)
    lengths = rng.integers(5, 200, 400)
    first, second = (rng.lognormal(0, 0.2, 400) / np.sqrt(lengths) for _ in range(2))
    found = compare_scores(first, second, num_strata=10, lengths=lengths, resamples=5)
    agreement = rank_agreement(first, second, lengths=lengths)
    assert found.held == Estimate(agreement.partial, agreement.partial_low, agreement.partial_high)
    assert found.spearman.value > 0.7 and found.held.low < 0 < found.held.high
    assert found.agreement.judged == (found.held.value, found.held.low, found.held.high)


def test_samples_without_a_length_are_left_out(target):
    lengths = np.arange(300.0)
    lengths[:50] = np.nan
    candidate = alike(target, 0.5)
    found = compare_scores(target, candidate, num_strata=10, lengths=lengths, resamples=5)
    held = compare_scores(target[50:], candidate[50:], num_strata=10, lengths=lengths[50:], resamples=5).held
    assert found.held == held


def test_without_lengths_the_rank_correlation_decides(target):
    found = compare_scores(target, alike(target, 0.5), num_strata=10, resamples=5)
    assert found.held is None
    assert found.agreement.judged[0] == found.spearman.value
