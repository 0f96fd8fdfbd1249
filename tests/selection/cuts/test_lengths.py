"""Ranks among samples of similar response length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from staff_engine.selection.cuts.lengths import rank_within_lengths


def test_a_score_that_is_only_length_leaves_out_no_length():
    lengths = np.arange(1000.0)
    ranks = rank_within_lengths(-lengths, lengths)
    highest = np.argsort(ranks)[-300:]
    assert np.bincount((lengths[highest] // 100).astype(int)).tolist() == [30] * 10
    assert np.argsort(-lengths)[-300:].max() < 300  # without it, only the shortest would be left out


def test_each_sample_is_ranked_among_those_of_its_length():
    scores = np.array([3.0, 1.0, 2.0, 30.0, 10.0, 20.0])
    lengths = np.array([5.0, 5.0, 5.0, 9.0, 9.0, 9.0])
    assert rank_within_lengths(scores, lengths).tolist() == pytest.approx([1, 1 / 3, 2 / 3] * 2)


def test_samples_of_equal_length_are_compared_with_each_other_even_if_they_are_most():
    ranks = rank_within_lengths(np.arange(100.0), np.full(100, 7.0))
    assert ranks.tolist() == pytest.approx((np.arange(100) + 1) / 100)


@given(
    st.lists(st.tuples(st.floats(0, 10) | st.just(np.nan), st.integers(1, 5)), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_ranks_do_not_depend_on_the_order_of_the_samples_and_keep_missing_scores(samples, random):
    scores, lengths = (np.array(column, dtype=float) for column in zip(*samples, strict=True))
    order = np.array(random.sample(range(len(samples)), len(samples)))
    ranks = rank_within_lengths(scores, lengths)
    assert np.array_equal(rank_within_lengths(scores[order], lengths[order]), ranks[order], equal_nan=True)
    assert np.array_equal(np.isnan(ranks), np.isnan(scores))
    assert not np.any(ranks <= 0) and not np.any(ranks > 1)
