"""Scores at some ranks, without sorting all scores."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from staff_engine.selection.order import blocks, order_statistics
from tests.helpers.scores import SAMPLES, with_ties_and_holes


@settings(deadline=None)
@given(scores=SAMPLES, block=st.sampled_from([1, 7, 1000]), data=st.data())
def test_scores_at_ranks_are_those_of_a_sort(scores, block, data):
    ranked = sorted(scores[np.isfinite(scores)].tolist())
    ranks = data.draw(st.lists(st.integers(0, len(ranked) - 1), max_size=20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", block)
        found = order_statistics.order_statistics(scores, np.array(ranks, dtype=np.int64))
    assert found.tolist() == [ranked[rank] for rank in ranks]


@pytest.mark.parametrize(
    "scores",
    [
        [7.5],
        [0.0, -0.0, 0.0],
        [5e-324, 0.0, 1.7976931348623157e308, np.inf],
        [1.0, np.nextafter(1.0, 2.0), -np.nan, np.nan],
    ],
)
def test_scores_at_all_ranks_are_the_sorted_ones(scores):
    scores = np.array(scores)
    ranked = np.sort(scores[np.isfinite(scores)])
    found = order_statistics.order_statistics(scores, np.arange(len(ranked)))
    assert found.tolist() == ranked.tolist()


def test_many_scores_are_ranked_without_a_sort_of_all(monkeypatch):
    scores = with_ties_and_holes(2 * blocks.BLOCK + 5)
    ranks = np.arange(0, np.isfinite(scores).sum(), 1000)
    few = order_statistics.rank_scores(scores)
    monkeypatch.setattr(order_statistics, "LARGE", len(scores) - 1)
    many = order_statistics.rank_scores(scores)
    monkeypatch.setattr(np, "sort", None)
    assert many.count == few.count and many.at(ranks).tolist() == few.at(ranks).tolist()
