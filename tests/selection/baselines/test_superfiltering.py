"""Superfiltering: the highest IFD below 1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from staff_engine.selection.baselines.superfiltering import select_superfiltering
from tests.helpers.baseline_oracles import size_of


@given(
    ifd=st.lists(
        st.floats(0, 3) | st.sampled_from([1.0, float("inf"), float("nan")]), min_size=1, max_size=40
    ),
    pruning_rate=st.floats(0, 0.99),
)
@settings(max_examples=100, deadline=None)
def test_the_highest_below_1_come_first_and_then_the_lowest_above_it(ifd, pruning_rate):
    scores = np.ones(len(ifd))
    scores[::4] = np.nan
    scores[-1] = 1.0
    rows = np.flatnonzero(np.isfinite(scores)).tolist()
    below = sorted((row for row in rows if ifd[row] < 1), key=lambda row: (-ifd[row], row))
    above = sorted((row for row in rows if 1 <= ifd[row] < np.inf), key=lambda row: (ifd[row], row))
    rest = [row for row in rows if not np.isfinite(ifd[row])]
    chosen = select_superfiltering(scores, np.array(ifd), pruning_rate=pruning_rate)
    assert chosen.tolist() == sorted([*below, *above, *rest][: size_of(scores, pruning_rate)])


def test_a_sample_whose_prompt_hurts_is_left_out_however_hard_it_is():
    ifd = np.array([0.2, 0.9, 1.4, 0.7, 2.0])
    assert select_superfiltering(np.ones(5), ifd, pruning_rate=0.6).tolist() == [1, 3]


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"ifd has shape \(3,\); allowed: \(4,\)"):
        select_superfiltering(np.ones(4), np.ones(3), pruning_rate=0.5)
