"""Balanced draws from groups and clusters; facility location in blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from staff_engine.selection import diverse
from staff_engine.selection.baselines.balanced import draw_balanced
from staff_engine.selection.baselines.facility import select_facility
from staff_engine.selection.baselines.kmeans import select_kmeans
from staff_engine.selection.coverage import cluster_embeddings
from tests.helpers import baseline_oracles as oracles


@given(
    groups=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**63 - 1),
)
@settings(max_examples=100, deadline=None)
def test_balanced_draws_are_those_of_the_papers_algorithm(groups, share, seed):
    rows = np.random.default_rng(len(groups)).permutation(1000)[: len(groups)]
    size = round(share * len(groups))
    drawn = draw_balanced(rows, np.array(groups), size, seed=seed)
    assert drawn.tolist() == oracles.balanced(rows.tolist(), groups, size, seed)


def test_every_group_gives_the_same_number_or_all_that_it_has():
    groups = np.repeat([0, 1, 2, 3], [2, 30, 500, 40])
    drawn = draw_balanced(np.arange(len(groups)), groups, 92, seed=0)
    assert np.bincount(groups[drawn]).tolist() == [2, 30, 30, 30]


def grouped(sizes, width=8, seed=0):
    """Embeddings in groups that lie far apart."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = 20 * np.eye(len(sizes), width)[groups] + rng.normal(0, 0.1, (len(groups), width))
    return vectors.astype(np.float16), groups


def test_k_means_draws_equally_from_clusters_of_any_size():
    embedding, groups = grouped([5, 40, 400, 100])
    chosen = select_kmeans(np.ones(545), embedding, pruning_rate=1 - 80 / 545, num_clusters=4)
    assert np.bincount(groups[chosen]).tolist() == [5, 25, 25, 25]


@pytest.mark.parametrize("pruning_rate", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 3])
def test_k_means_is_a_balanced_draw_from_its_clusters(pruning_rate, seed):
    rng = np.random.default_rng(seed)
    scores, embedding = rng.lognormal(size=300), rng.normal(size=(300, 5)).astype(np.float16)
    scores[::7] = np.nan
    rows = np.flatnonzero(np.isfinite(scores))
    clusters = cluster_embeddings(embedding, np.isfinite(scores), seed=seed, num_clusters=100)[rows]
    chosen = select_kmeans(scores, embedding, pruning_rate=pruning_rate, seed=seed)
    size = oracles.size_of(scores, pruning_rate)
    assert chosen.tolist() == oracles.balanced(rows.tolist(), clusters.tolist(), size, seed)


def test_facility_location_takes_one_of_each_group_before_a_second_of_any():
    embedding, groups = grouped([5, 40, 400, 100])
    chosen = select_facility(np.ones(545), embedding, pruning_rate=1 - 4 / 545)
    assert sorted(groups[chosen]) == [0, 1, 2, 3]


def test_with_too_many_samples_the_seed_divides_them_into_blocks(monkeypatch):
    monkeypatch.setattr(diverse, "BLOCK", 64)
    embedding, _ = grouped([50, 150, 100])
    chosen = [select_facility(np.ones(300), embedding, pruning_rate=0.8, seed=seed) for seed in (0, 0, 1)]
    assert [len(ids) for ids in chosen] == [60, 60, 60]
    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert not np.array_equal(chosen[0], chosen[2])
