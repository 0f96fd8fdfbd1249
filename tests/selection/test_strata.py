import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from staff_engine.errors import DatasetError, PlanError
from staff_engine.selection.strata import STRATA_BY, check_scores, count_dropped, count_scorable, stratify
from tests.helpers import oracles

NAN, INF = float("nan"), float("inf")

SCORES = st.floats(0) | st.floats(0, 100) | st.sampled_from([0.0, 0.5, 1.0, 3.0, NAN, INF])
SAMPLES = st.lists(SCORES, min_size=1, max_size=80).map(np.array).filter(lambda s: np.isfinite(s).any())


@st.composite
def cases(draw):
    scores = draw(SAMPLES)
    return scores, draw(st.integers(1, 60)), draw(st.integers(0, int(np.isfinite(scores).sum()) - 1))


def cut(scores, num_strata, by="width", dropped=0):
    return stratify(np.array(scores, float), num_strata=num_strata, by=by, dropped=dropped)


@settings(deadline=None)
@given(case=cases())
def test_equal_widths_are_those_of_the_slow_loop(case):
    scores, num_strata, dropped = case
    assert cut(*case[:2], dropped=dropped).labels.tolist() == oracles.width_labels(
        scores.tolist(), num_strata, dropped
    )


@pytest.mark.parametrize("by", STRATA_BY)
@settings(deadline=None)
@given(case=cases())
def test_every_scorable_sample_that_is_not_dropped_is_in_one_stratum_within_its_edges(by, case):
    scores, num_strata, dropped = case
    strata = cut(scores, num_strata, by, dropped)
    inside = strata.labels >= 0
    assert (strata.labels == -2).tolist() == (~np.isfinite(scores)).tolist()
    assert np.count_nonzero(strata.labels == -1) == dropped
    assert strata.sizes.tolist() == np.bincount(strata.labels[inside], minlength=len(strata.sizes)).tolist()
    assert len(strata.edges) == len(strata.sizes) + 1 <= num_strata + 1
    kept, stratum = scores[inside], strata.labels[inside]
    assert strata.edges[0] == kept.min() and strata.edges[-1] == kept.max()
    shares, edges = (values / (kept.max() or 1) for values in (kept, strata.edges))
    assert (shares >= edges[stratum] - 1e-9).all() and (shares <= edges[stratum + 1] + 1e-9).all()
    assert (np.diff(stratum[np.argsort(kept)]) >= 0).all(), "a harder sample is in no easier stratum"


def test_strata_are_half_open_and_the_top_edge_is_in_the_last():
    strata = cut([0, 1, 2, 3, 4], 4)
    assert strata.labels.tolist() == [0, 1, 2, 3, 3]
    assert strata.edges.tolist() == [0, 1, 2, 3, 4]


def test_the_last_edge_is_the_greatest_score_to_the_last_bit():
    assert 1.4 + (7.3 - 1.4) != 7.3
    assert cut([1.4, 7.3], 5).edges[-1] == 7.3


def test_empty_strata_stay_with_size_0():
    assert cut([0, 1, 10], 5).sizes.tolist() == [2, 0, 0, 0, 1]


@pytest.mark.parametrize("by", STRATA_BY)
@pytest.mark.parametrize("score", [0.0, 7.5])
def test_equal_scores_give_one_stratum(by, score):
    strata = cut([score] * 6, 50, by)
    assert (strata.labels.tolist(), strata.sizes.tolist()) == ([0] * 6, [6])
    assert strata.edges.tolist() == [score, score]


@pytest.mark.parametrize("by", STRATA_BY)
def test_one_sample_is_one_stratum(by):
    assert cut([3.0], 50, by).sizes.tolist() == [1]


@pytest.mark.parametrize("by", STRATA_BY)
def test_more_strata_than_samples_leave_some_empty(by):
    strata = cut([1, 2, 4], 100, by)
    assert len(strata.sizes) == 100 and sorted(strata.sizes)[-3:] == [1, 1, 1]


def test_the_greatest_are_dropped_and_of_equal_ones_those_with_the_greater_row_id():
    assert cut([5, 1, 5, 9, 5, 2], 2, dropped=2).labels.tolist() == [1, 0, 1, -1, -1, 0]
    assert cut([5, 5, 5, 5], 2, dropped=3).labels.tolist() == [0, -1, -1, -1]


def test_the_edges_are_those_of_the_scores_that_are_left():
    assert cut([0, 1, 2, 1000], 2, dropped=1).edges.tolist() == [0, 1, 2]


def test_log_strata_are_equally_wide_in_the_logarithm():
    strata = cut([1, 2, 9, 10, 99, 100, 1000], 3, "log")
    assert strata.labels.tolist() == [0, 0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(strata.edges, [1, 10, 100, 1000])


def test_in_log_strata_a_score_of_0_lies_with_the_least_one_above_it():
    strata = cut([0, 1, 10, 100, 0], 2, "log")
    assert strata.labels.tolist() == [0, 0, 1, 1, 0]
    np.testing.assert_allclose(strata.edges, [0, 10, 100])
    assert cut([0, 3], 5, "log").sizes.tolist() == [2], "no two scores above 0: no width"


def test_the_edges_of_log_strata_rise_even_where_roundings_part_the_scores():
    scores = 1000 + np.spacing(1000.0) * np.array([0, 5, 20])
    edges = cut(scores, 7, "log").edges
    assert len(edges) == 8 and (np.diff(edges) >= 0).all()


def test_quantile_strata_are_equally_large():
    scores = np.random.default_rng(0).lognormal(sigma=3, size=1003)
    sizes = cut(scores, 10, "quantile").sizes
    assert set(sizes) <= {100, 101} and sizes.sum() == 1003


def test_quantile_strata_keep_equal_scores_together():
    strata = cut([1, 1, 1, 1, 1, 2, 3, 4], 4, "quantile")
    assert strata.labels.tolist() == [2, 2, 2, 2, 2, 2, 3, 3]
    assert strata.sizes.tolist() == [0, 0, 6, 2]


def test_on_heavy_tails_width_leaves_strata_empty_and_log_and_quantile_do_not():
    scores = np.random.default_rng(0).lognormal(sigma=1.5, size=2000)
    empty = {by: np.count_nonzero(cut(scores, 50, by).sizes == 0) for by in STRATA_BY}
    assert empty["width"] > 20 > empty["log"] >= empty["quantile"] == 0


def test_what_is_taken_out_leaves_the_edges_as_they_are():
    strata = cut([0, 1, 2, 3, 4], 2)
    left = strata.without(np.array([True, False, False, False, True]))
    assert left.labels.tolist() == [-1, 0, 1, 1, -1]
    assert (left.sizes.tolist(), left.edges.tolist()) == ([1, 2], strata.edges.tolist())


@pytest.mark.parametrize("num_strata", [0, -3, 10_001, 2.5, "50", None])
def test_a_number_of_strata_that_is_not_allowed_is_named(num_strata):
    with pytest.raises(PlanError, match=f"num_strata is {num_strata!r}; allowed: integers from 1 to 10,000"):
        cut([1, 2], num_strata)


def test_an_unknown_way_to_cut_is_refused_with_those_that_are_known():
    with pytest.raises(PlanError, match="strata_by is 'area'; allowed: width, log, quantile"):
        cut([1, 2], 2, "area")


def test_what_is_dropped_is_the_floor_of_the_fraction_and_leaves_what_has_to_be_kept():
    assert [count_dropped(n, 0.1) for n in (1, 9, 10, 19, 600)] == [0, 0, 1, 1, 60]
    assert count_dropped(10, 0.5, keep=8) == 2
    assert count_dropped(10**7, 1 - 2**-53) == 10**7 - 1


@pytest.mark.parametrize("fraction", [-0.1, 1.0, NAN])
def test_a_fraction_to_drop_that_is_not_allowed_is_named(fraction):
    with pytest.raises(PlanError, match=f"drop_hardest is {fraction}; allowed: 0 or more and below 1"):
        count_dropped(10, fraction)


def test_a_negative_score_is_named_with_its_place():
    with pytest.raises(ValueError, match=r"speculative\[2\] is -0.5; allowed: 0 or more, or NaN"):
        check_scores([1, NAN, -0.5, -INF])


def test_scores_of_two_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"speculative has shape \(2, 3\); allowed: one dimension"):
        check_scores(np.ones((2, 3)))


@pytest.mark.parametrize("scores", [[], [NAN, INF]])
def test_without_any_finite_score_there_is_nothing_to_stratify(scores):
    with pytest.raises(
        DatasetError, match=f"none of the {len(scores)} samples has a finite speculative score"
    ):
        count_scorable(check_scores(scores))
