import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings
from scipy import stats

from staff_engine import draw_verification
from staff_engine.errors import DatasetError, PlanError
from staff_engine.selection.strata import STRATA_BY, stratify
from staff_engine.selection.verification import PRIOR_DEGREES, verification_ratios
from tests.helpers import oracles

NAN = float("nan")


def lognormal(count, seed=0, sigma=1.0):
    return np.random.default_rng(seed).lognormal(sigma=sigma, size=count)


def ratios_of(scores, verified, num_strata=1):
    scores = np.array(scores, float)
    return verification_ratios(
        stratify(scores, num_strata=num_strata), scores, list(verified), list(verified.values())
    )


# --- the draw


@settings(deadline=None)
@given(
    seed=st.integers(0, 99),
    count=st.integers(1, 300),
    num_strata=st.integers(1, 80),
    per_stratum=st.integers(0, 12),
    by=st.sampled_from(STRATA_BY),
)
def test_a_fresh_draw_takes_b_v_of_each_stratum_or_all_it_has(seed, count, num_strata, per_stratum, by):
    scores = lognormal(count, seed)
    settings = {"num_strata": num_strata, "strata_by": by, "seed": seed}
    drawn = draw_verification(scores, per_stratum=per_stratum, **settings)
    strata = stratify(scores, num_strata=num_strata, by=by, dropped=count // 10)
    counts = np.bincount(strata.labels[drawn], minlength=len(strata.sizes))
    assert counts.tolist() == np.minimum(per_stratum, strata.sizes).tolist()
    assert drawn.dtype == np.int64 and (np.diff(drawn) > 0).all()
    assert draw_verification(scores, per_stratum=per_stratum, verified=drawn, **settings).tolist() == []


def test_the_draw_takes_the_lowest_priorities_of_each_stratum():
    scores = lognormal(200).tolist()
    labels = oracles.width_labels(scores, 5, 20)
    expected = []
    for stratum in range(5):
        members = [i for i, label in enumerate(labels) if label == stratum]
        expected += sorted(members, key=lambda i: oracles.priority(9, i, 0))[:4]
    assert draw_verification(scores, num_strata=5, per_stratum=4, seed=9).tolist() == sorted(expected)


def test_a_larger_draw_holds_the_smaller_and_only_what_is_missing_is_drawn():
    scores = lognormal(500)
    small, large = (draw_verification(scores, per_stratum=b) for b in (3, 10))
    assert set(small) < set(large)
    assert draw_verification(scores, per_stratum=10, verified=small).tolist() == sorted(
        set(large) - set(small)
    )


@settings(deadline=None)
@given(first=st.integers(1, 60), then=st.integers(1, 60), per_stratum=st.integers(1, 10))
def test_what_was_verified_for_one_k_serves_the_next(first, then, per_stratum):
    scores = lognormal(400)
    have = draw_verification(scores, num_strata=first, per_stratum=per_stratum)
    more = draw_verification(scores, num_strata=then, per_stratum=per_stratum, verified=have[::-1])
    strata = stratify(scores, num_strata=then, dropped=40)
    before = np.bincount(strata.labels[have], minlength=then)
    after = before + np.bincount(strata.labels[more], minlength=then)
    wanted = np.minimum(per_stratum, strata.sizes)
    assert after.tolist() == np.maximum(before, wanted).tolist()
    assert not set(have) & set(more)


def test_a_stratum_with_enough_verified_samples_needs_none_whichever_they_are():
    scores = np.arange(100.0)
    fresh = draw_verification(scores, num_strata=1, per_stratum=10)
    others = np.setdiff1d(np.arange(90), fresh)[:10]
    assert draw_verification(scores, num_strata=1, per_stratum=10, verified=others).tolist() == []


def test_neither_dropped_nor_unscorable_samples_are_drawn():
    scores = np.append(lognormal(90), [NAN] * 10)
    drawn = draw_verification(scores, per_stratum=100, drop_hardest=0.2)
    assert drawn.tolist() == np.sort(np.argsort(scores)[:72]).tolist()


def test_verified_samples_that_lie_in_no_stratum_are_not_counted():
    scores = np.array([1.0, 2.0, 3.0, 4.0, 1000.0, NAN])
    settings = {"num_strata": 2, "per_stratum": 1, "drop_hardest": 0.2}
    assert len(draw_verification(scores, verified=[4, 5], **settings)) == 2


def test_with_the_pruning_rate_the_draw_is_from_the_strata_of_the_coreset():
    scores = np.append(np.ones(95), np.full(5, 50.0))
    assert len(draw_verification(scores)) == 10
    assert len(draw_verification(scores, pruning_rate=0.9)) == 10
    assert len(draw_verification(scores, pruning_rate=0.0)) == 15, "nothing is dropped: two strata"


def test_the_seed_changes_the_draw_and_the_same_seed_repeats_it():
    draws = [draw_verification(lognormal(1000), seed=seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("per_stratum", [-1, 2.0, None])
def test_a_verification_budget_that_is_not_allowed_is_named(per_stratum):
    with pytest.raises(PlanError, match=f"per_stratum is {per_stratum}; allowed: integers from 0"):
        draw_verification([1.0, 2.0], per_stratum=per_stratum)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_unknown_verified_row_is_named(wrong):
    with pytest.raises(ValueError, match=f"verified row id {wrong} is unknown; allowed: 0 to 2"):
        draw_verification([1.0, 2.0, 3.0], verified=[0, wrong])


def test_verified_rows_that_are_no_whole_numbers_are_refused():
    with pytest.raises(ValueError, match=r"verified row ids are float64 of shape \(1,\); allowed: integers"):
        draw_verification([1.0, 2.0], verified=[0.5])


def test_nothing_can_be_drawn_where_nothing_is_scorable():
    with pytest.raises(DatasetError, match="none of the 2 samples has a finite speculative score"):
        draw_verification([NAN, NAN])


# --- ratios


def test_a_ratio_is_the_quotient_of_the_sums_scaled_by_that_of_all():
    # Strata {0, 1} and {2, 3}: (2 + 4)/(1 + 2) = 2 and 15/5 = 3; in all 21/8.
    ratios = ratios_of([1, 2, 5, 6], {0: 2, 1: 4, 2: 15}, num_strata=2)
    np.testing.assert_allclose(ratios.values, [2 / (21 / 8), 3 / (21 / 8)])
    assert ratios.verified.tolist() == [2, 1]


@settings(deadline=None)
@given(data=st.data(), num_strata=st.integers(1, 12))
def test_ratios_are_those_of_the_slow_loop_and_pool_to_1(data, num_strata):
    scores = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=40))
    verified = data.draw(
        st.dictionaries(st.integers(0, len(scores) - 1), st.integers(0, 50) | st.just(NAN), max_size=40)
    )
    labels = oracles.width_labels(scores, num_strata, 0)
    ratios = ratios_of(scores, verified, num_strata)
    expected = oracles.scaled_ratios(labels, scores, verified, len(ratios.values))
    np.testing.assert_allclose(ratios.values, np.array(expected, dtype=float), rtol=1e-12)
    used = [i for i, score in verified.items() if score == score]
    small = np.bincount([labels[i] for i in used], [scores[i] for i in used], len(ratios.values))
    assume(
        small.sum()
        and sum(verified[i] for i in used)
        and not any(verified[i] and not scores[i] for i in used)
    )
    assert np.dot(small, ratios.values) / small.sum() == pytest.approx(1)


@settings(deadline=None)
@given(factor=st.floats(1e-6, 1e6))
def test_the_units_of_the_models_cancel(factor):
    scores = lognormal(60)
    target = lognormal(60, seed=1)
    small = ratios_of(scores, dict(enumerate(target)), 5)
    scaled = ratios_of(scores * factor, dict(enumerate(target * 3)), 5)
    np.testing.assert_allclose(scaled.values, small.values, rtol=1e-9)


def test_the_order_of_the_verified_samples_changes_no_bit():
    scores, target = lognormal(300), lognormal(300, seed=1)
    shuffled = np.random.default_rng(0).permutation(300)
    one, other = (
        ratios_of(scores, {int(i): target[i] for i in ids}, 5) for ids in (np.arange(300), shuffled)
    )
    assert one.values.tolist() == other.values.tolist()
    assert np.array_equal(one.intervals(), other.intervals(), equal_nan=True)


def test_a_stratum_without_verified_samples_has_ratio_1():
    ratios = ratios_of([1, 2, 8, 9], {0: 5, 1: 1}, num_strata=2)
    assert (ratios.values[1], ratios.verified[1]) == (1, 0)


def test_a_verified_score_that_is_not_finite_is_ignored_and_counted():
    ratios = ratios_of([1, 2, 8, 9], {0: 5, 1: NAN, 2: float("inf"), 3: 45}, num_strata=2)
    assert ratios.verified.tolist() == [1, 1]
    assert (ratios.ignored, ratios.values.tolist()) == (2, [1, 1])


def test_a_verified_sample_outside_the_strata_does_not_count():
    scores = np.array([1.0, 2.0, 50.0, NAN])
    strata = stratify(scores, num_strata=2, dropped=1)
    ratios = verification_ratios(strata, scores, [0, 1, 2, 3], [2, 2, 999, 999])
    np.testing.assert_allclose(ratios.values, [1.5, 0.75])


@pytest.mark.parametrize(
    ("scores", "verified"),
    [([1, 2, 8, 9], {0: 0, 3: 0}), ([0, 0, 8, 9], {0: 3, 1: 4}), ([0, 0, 0], {0: 0})],
)
def test_scores_that_sum_to_0_give_ratio_1_and_no_interval(scores, verified):
    ratios = ratios_of(scores, verified, num_strata=2)
    assert set(ratios.values) == {1}
    assert np.isnan(ratios.intervals()).all()


def test_a_stratum_whose_speculative_scores_are_0_has_ratio_1_beside_the_others():
    ratios = ratios_of([0, 0, 4, 4], {0: 7, 1: 9, 2: 2, 3: 6}, num_strata=2)
    assert ratios.values[0] == 1 and ratios.values[1] == pytest.approx((8 / 8) / (24 / 8))
    assert np.isnan(ratios.intervals()).tolist() == [[True, False]] * 2


def test_speculative_scores_that_are_next_to_nothing_count_as_nothing():
    ratios = ratios_of([1e-310, 1e-310, 4, 4], {0: 7, 1: 9, 2: 2, 3: 6}, num_strata=2)
    assert ratios.values[0] == 1 and np.isnan(ratios.intervals()[0][0])


@pytest.mark.parametrize(
    ("ids", "scores", "says"),
    [
        ([0, 1], [1.0], "2 verified row ids have 1 scores; allowed: one each"),
        ([1, 0, 1], [1.0, 2.0, 3.0], "verified row id 1 is given twice; allowed: once"),
        ([0, 9], [1.0, 2.0], "verified row id 9 is unknown; allowed: 0 to 2"),
        ([0, 1], [1.0, -2.0], r"verified_scores\[1\] is -2.0; allowed: 0 or more"),
    ],
)
def test_verified_samples_that_do_not_fit_are_refused(ids, scores, says):
    speculative = np.array([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=says):
        verification_ratios(stratify(speculative), speculative, ids, scores)


# --- intervals


def slow_interval(strata, small, target, wanted):
    """Of one stratum, by the formulas one after the other."""
    relative = {}
    for stratum in np.unique(strata):
        ours = strata == stratum
        ratio = target[ours].sum() / small[ours].sum()
        residuals = target[ours] - ratio * small[ours]
        relative[stratum] = (ours.sum() - 1, (residuals**2).sum() / target[ours].mean() ** 2)
    pooled = sum(squares for _, squares in relative.values()) / sum(own for own, _ in relative.values())
    own, squares = relative[wanted]
    degrees = PRIOR_DEGREES + own
    error = np.sqrt((PRIOR_DEGREES * pooled + squares) / degrees / (own + 1))
    ours = strata == wanted
    ratio = target[ours].sum() / small[ours].sum() / (target.sum() / small.sum())
    return ratio * np.exp(stats.t.interval(0.95, degrees, scale=error))


def test_an_interval_is_students_on_the_logarithm_with_a_moderated_variance():
    scores = np.sort(lognormal(40))
    target = scores * lognormal(40, seed=1, sigma=0.5)
    strata = stratify(scores, num_strata=4, by="quantile")
    low, high = verification_ratios(strata, scores, np.arange(40), target).intervals()
    for stratum in range(4):
        expected = slow_interval(strata.labels, scores, target, stratum)
        np.testing.assert_allclose([low[stratum], high[stratum]], expected)


@pytest.mark.parametrize("count", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("sigma", [0.3, 0.6])
def test_intervals_hold_the_true_ratio_about_as_often_as_they_say(count, sigma):
    rng = np.random.default_rng(0)
    held = []
    for _ in range(20):
        truth = rng.lognormal(sigma=0.3, size=(100, 1))
        small = rng.lognormal(sigma=0.2, size=(100, count))
        noise = rng.lognormal(-(sigma**2) / 2, sigma, size=small.shape)
        target = small * truth * noise
        scores = (small + 1000 * np.arange(100)[:, None]).ravel()  # 100 strata, no two alike
        strata = stratify(scores, num_strata=100, by="quantile")
        ratios = verification_ratios(strata, small.ravel(), np.arange(scores.size), target.ravel())
        scale = target.sum() / small.sum()
        low, high = ratios.intervals()
        held.append((low * scale <= truth[:, 0]) & (truth[:, 0] <= high * scale))
    assert 0.925 < np.mean(held) < 0.985


def test_intervals_narrow_as_more_is_verified():
    scores, target = lognormal(4000), lognormal(4000) * lognormal(4000, seed=2, sigma=0.3)
    widths = []
    for count in (10, 100, 1000, 4000):
        low, high = ratios_of(scores, dict(enumerate(target[:count]))).intervals()
        widths.append(high[0] - low[0])
    assert widths == sorted(widths, reverse=True)


def test_one_verified_sample_has_a_ratio_but_no_interval():
    ratios = ratios_of([1, 2, 8, 9], {0: 5, 2: 1, 3: 2}, num_strata=2)
    low, high = ratios.intervals()
    assert np.isnan([low[0], high[0]]).all() and low[1] <= ratios.values[1] <= high[1]


def test_equal_quotients_have_an_interval_of_no_width():
    low, high = ratios_of([1, 2, 8, 9], {0: 2, 1: 4, 2: 16, 3: 18}, num_strata=2).intervals()
    np.testing.assert_allclose([low, high], np.ones((2, 2)))


def test_tiny_scores_have_the_intervals_of_large_ones():
    rng = np.random.default_rng(0)
    scores, target = np.sort(rng.lognormal(size=40)), rng.lognormal(size=40)
    strata = stratify(scores, num_strata=4, by="quantile")
    target[strata.labels == 0] *= 1e-190  # a share of the sum whose square is 0
    shares = [verification_ratios(strata, scores, np.arange(40), each) for each in (target, target * 1e-5)]
    for each in shares:
        low, high = each.intervals()
        assert np.isfinite([low, high]).all() and (low < each.values).all() and (each.values < high).all()
    np.testing.assert_allclose(shares[0].intervals(), shares[1].intervals())
