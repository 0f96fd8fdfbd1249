import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from staff_engine.selection import coverage
from staff_engine.selection.coverage import (
    QUANTILES,
    cluster_embeddings,
    measure_coverage,
    overlaps,
    share_reached,
)


def measured(coresets, rows=10, **columns):
    given_columns = {
        "strata": np.zeros(rows, int), "clusters": None, "lengths": np.arange(rows),
        "losses": np.ones(rows), **columns,
    }  # fmt: skip
    return measure_coverage({name: np.array(ids) for name, ids in coresets.items()}, **given_columns)


def test_overlap_is_shared_over_either():
    found = measured({"a": [0, 1, 2], "b": [2, 3], "c": [0, 1, 2]})
    assert found.names == ("a", "b", "c")
    assert found.sizes.tolist() == [3, 2, 3]
    np.testing.assert_allclose(found.jaccard, [[1, 1 / 4, 1], [1 / 4, 1, 1 / 4], [1, 1 / 4, 1]])


@given(st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=1, max_size=5))
def test_overlap_is_that_of_sets(coresets):
    found = overlaps([np.array(sorted(ids)) for ids in coresets], 31)
    expected = [[len(a & b) / len(a | b) for b in coresets] for a in coresets]
    np.testing.assert_allclose(found, expected)


def test_only_groups_with_samples_are_counted_and_what_is_in_none_is_not():
    strata = np.array([0, 0, 2, 5, -1, -2])
    assert share_reached(strata, np.array([0, 1])) == pytest.approx(1 / 3)
    assert share_reached(strata, np.array([0, 2, 3])) == 1
    assert share_reached(strata, np.array([4])) == 0
    assert np.isnan(share_reached(np.array([-1, -2]), np.array([0])))


def test_profiles_are_quantiles_of_scorable_samples_and_of_each_coreset():
    losses = np.append(np.linspace(0, 1, 101), [np.nan, np.nan])
    lengths = np.append(np.arange(101), [1000, 1000])
    found = measured(
        {"low": range(11), "one": [50]}, 103, strata=np.zeros(103), lengths=lengths, losses=losses
    )
    np.testing.assert_allclose(found.lengths.everything, [5, 25, 50, 75, 95])
    np.testing.assert_allclose(found.losses.everything, QUANTILES)
    np.testing.assert_allclose(found.lengths.coresets, [[0.5, 2.5, 5, 7.5, 9.5], [50] * 5])


def test_without_embeddings_the_clusters_are_not_known():
    found = measured({"a": [0]})
    assert np.isnan(found.clusters).all()
    assert found.num_clusters == 0
    found = measured({"a": [0], "b": [0, 9]}, clusters=np.repeat([0, 1], 5))
    assert found.clusters.tolist() == [0.5, 1]
    assert found.num_clusters == 2


def in_groups(count, groups=4):
    rng = np.random.default_rng(0)
    places = np.arange(count) % groups
    return (20 * np.eye(groups)[places] + rng.normal(size=(count, groups))).astype(np.float16), places


@pytest.mark.parametrize("mini_batches_from", [10, 10_000])
def test_samples_that_lie_together_are_a_cluster(monkeypatch, mini_batches_from):
    monkeypatch.setattr(coverage, "MINI_BATCHES_FROM", mini_batches_from)
    embedding, places = in_groups(300)
    scorable = np.arange(300) >= 10
    labels = cluster_embeddings(embedding, scorable, num_clusters=4)
    assert (labels[:10] == -1).all()
    groups = [set(labels[scorable & (places == place)]) for place in range(4)]
    assert all(len(group) == 1 for group in groups)
    assert set.union(*groups) == {0, 1, 2, 3}


def test_clusters_come_again_with_the_seed():
    embedding, _ = in_groups(200)
    first, again, other = (
        cluster_embeddings(embedding, np.ones(200, bool), seed=seed) for seed in (2**63 - 1, 2**63 - 1, 5)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("different", [1, 3])
def test_there_are_no_more_clusters_than_different_embeddings(different):
    embedding = np.repeat(np.arange(different * 2.0).reshape(different, 2), 20, axis=0)
    labels = cluster_embeddings(embedding, np.ones(len(embedding), bool))
    assert len(set(labels)) == different


def test_without_a_scorable_sample_nothing_is_in_a_cluster():
    assert cluster_embeddings(np.zeros((3, 2)), np.zeros(3, bool)).tolist() == [-1, -1, -1]
