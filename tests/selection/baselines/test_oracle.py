"""The oracle draws clean rows as the random draw does, and others only if it must."""

import numpy as np
import pytest

from staff_engine.selection.baselines.oracle import select_oracle
from staff_engine.selection.baselines.ranked import select_random


@pytest.mark.parametrize("seed", [0, 7])
def test_it_is_the_random_draw_without_the_rows_that_are_not_clean(seed):
    scores, clean = np.ones(200), np.arange(200) % 4 > 0
    chosen = select_oracle(scores, clean, pruning_rate=0.9, seed=seed)
    assert len(chosen) == 20 and clean[chosen].all()
    alone = select_random(np.where(clean, 1.0, np.nan), pruning_rate=1 - 20 / 150, seed=seed)
    np.testing.assert_array_equal(chosen, alone)


def test_other_rows_fill_up_what_the_clean_ones_leave():
    scores, clean = np.ones(100), np.arange(100) < 30
    chosen = select_oracle(scores, clean, pruning_rate=0.6)
    assert set(range(30)) <= set(chosen.tolist())
    assert len(chosen) == 40


def test_where_every_row_is_clean_it_is_the_random_draw():
    scores = np.where(np.arange(50) % 7, 1.0, np.nan)
    np.testing.assert_array_equal(
        select_oracle(scores, np.ones(50, bool), pruning_rate=0.5, seed=3),
        select_random(scores, pruning_rate=0.5, seed=3),
    )


def test_a_mask_of_another_length_is_refused_with_its_shape():
    with pytest.raises(ValueError, match=r"clean has shape \(3,\); allowed: \(2,\)"):
        select_oracle(np.ones(2), np.ones(3, bool), pruning_rate=0.5)
