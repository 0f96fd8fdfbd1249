"""S2L against its algorithm, and what its trajectories tell apart."""

import numpy as np
import pytest

from staff_engine.selection.baselines.s2l import select_s2l
from staff_engine.selection.coverage import cluster_embeddings
from tests.helpers import baseline_oracles as oracles


@pytest.mark.parametrize("pruning_rate", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 3])
def test_s2l_is_a_balanced_draw_from_the_clusters_of_the_trajectories(pruning_rate, seed):
    rng = np.random.default_rng(seed)
    scores, losses = rng.lognormal(size=300), rng.exponential(size=(300, 4))
    scores[::7] = np.nan
    losses[::7] = np.nan
    rows = np.flatnonzero(np.isfinite(scores))
    clusters = cluster_embeddings(losses, np.isfinite(scores), seed=seed, num_clusters=100)[rows]
    chosen = select_s2l(scores, losses, pruning_rate=pruning_rate, seed=seed)
    size = oracles.size_of(scores, pruning_rate)
    assert chosen.tolist() == oracles.balanced(rows.tolist(), clusters.tolist(), size, seed)


def test_samples_learnt_in_the_same_way_share_a_budget_and_rare_ways_are_kept_whole():
    rng = np.random.default_rng(0)
    ways = np.array([[4.0, 2.0, 0.2], [4.0, 3.9, 3.8], [0.3, 0.2, 0.1], [1.0, 3.0, 5.0]])
    kinds = rng.permutation(np.repeat([0, 1, 2, 3], [300, 60, 120, 6]))
    losses = ways[kinds] + rng.normal(0, 0.02, (486, 3))
    chosen = select_s2l(np.ones(486), losses, pruning_rate=1 - 96 / 486, num_clusters=4)
    assert np.bincount(kinds[chosen]).tolist() == [30, 30, 30, 6]


def test_a_loss_that_is_not_finite_counts_as_0():
    losses = np.random.default_rng(0).exponential(size=(200, 3))
    losses[5, 1] = np.inf
    with_zero = np.where(np.isfinite(losses), losses, 0.0)
    chosen, expected = (select_s2l(np.ones(200), each, pruning_rate=0.7) for each in (losses, with_zero))
    np.testing.assert_array_equal(chosen, expected)


@pytest.mark.parametrize("shape", [(3, 2), (4,), (4, 0)])
def test_trajectories_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"trajectories have shape .*; allowed: \(4, c\)"):
        select_s2l(np.ones(4), np.ones(shape), pruning_rate=0.5)
