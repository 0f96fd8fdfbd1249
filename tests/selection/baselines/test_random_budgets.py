"""Random coresets of equal tokens and of equal time; each has a law of its own instead of exactly m."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from staff_engine.errors import DatasetError, PlanError
from staff_engine.selection.baselines.random_budgets import select_random_extra, select_random_tokens
from staff_engine.selection.baselines.ranked import select_random
from tests.helpers.oracles import priority


@given(
    lengths=st.lists(st.integers(0, 50), min_size=1, max_size=40),
    tokens=st.floats(0, 2500),
    seed=st.integers(0, 2**62 - 1),
)
@settings(max_examples=100, deadline=None)
def test_samples_are_drawn_until_the_tokens_are_reached(lengths, tokens, seed):
    scores = np.ones(len(lengths))
    scores[::3] = np.nan
    scores[-1] = 1.0
    chosen = select_random_tokens(scores, np.array(lengths, float), tokens=tokens, seed=seed)
    expected, total = [], 0
    for row in sorted(
        np.flatnonzero(np.isfinite(scores)).tolist(), key=lambda row: priority(seed + 2**62, row, 1)
    ):
        expected.append(row)
        total += lengths[row]
        if total >= tokens:
            break
    assert chosen.tolist() == sorted(expected)


@pytest.mark.parametrize("seed", [0, 5])
def test_both_are_the_start_of_the_random_draw(seed):
    scores, lengths = np.ones(200), np.random.default_rng(0).integers(1, 60, 200).astype(float)
    chosen = select_random_tokens(scores, lengths, tokens=1000, seed=seed)
    rate = 1 - len(chosen) / 200
    np.testing.assert_array_equal(chosen, select_random(scores, pruning_rate=rate, seed=seed))
    more = select_random_extra(scores, pruning_rate=0.9, extra=13, seed=seed)
    np.testing.assert_array_equal(more, select_random(scores, pruning_rate=1 - 33 / 200, seed=seed))


def test_no_more_than_all_samples_are_drawn():
    scores = np.array([1.0, np.nan, 2.0])
    assert select_random_tokens(scores, np.full(3, 5.0), tokens=1e9).tolist() == [0, 2]
    assert select_random_extra(scores, pruning_rate=0.5, extra=100).tolist() == [0, 2]


def test_wrong_input_is_refused_with_its_value():
    with pytest.raises(DatasetError, match="none of the 2 samples"):
        select_random_tokens(np.full(2, np.nan), np.ones(2), tokens=3)
    with pytest.raises(PlanError, match="seed is -1"):
        select_random_tokens(np.ones(2), np.ones(2), tokens=3, seed=-1)
    with pytest.raises(ValueError, match=r"response_tokens has shape \(3,\)"):
        select_random_tokens(np.ones(2), np.ones(3), tokens=3)
