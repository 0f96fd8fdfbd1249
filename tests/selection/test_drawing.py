import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from staff_engine.errors import PlanError
from staff_engine.selection.drawing import (
    SELECTION,
    VERIFICATION,
    order_at_random,
    order_hardest_first,
    priorities,
    queue_at_random,
    queue_hardest_first,
)
from staff_engine.selection.strata import stratify
from tests.helpers import oracles

SEEDS = st.integers(0, 2**63 - 1)


def lognormal(count, seed=0):
    return np.random.default_rng(seed).lognormal(size=count)


@settings(deadline=None)
@given(seed=SEEDS, rows=st.lists(st.integers(0, 2**28 - 1), unique=True, max_size=20))
def test_priorities_are_those_of_splitmix64_computed_with_whole_numbers(seed, rows):
    for stream in (VERIFICATION, SELECTION):
        expected = [high << 28 | row for high, row in (oracles.priority(seed, row, stream) for row in rows)]
        assert priorities(seed, np.array(rows, dtype=np.int64), stream).tolist() == expected


@given(seed=SEEDS, cuts=st.sets(st.integers(1, 99)))
def test_a_priority_does_not_depend_on_sharding_or_order(seed, cuts):
    whole = priorities(seed, np.arange(100), SELECTION)
    shards = np.split(np.arange(100), sorted(cuts))
    assert np.array_equal(whole, np.concatenate([priorities(seed, shard, SELECTION) for shard in shards]))
    assert np.array_equal(whole[::-1], priorities(seed, np.arange(100)[::-1], SELECTION))


def test_seeds_and_streams_draw_independently():
    ranks = [
        np.argsort(np.argsort(priorities(seed, np.arange(5000), stream)))
        for seed in (0, 1, 2**62)
        for stream in (VERIFICATION, SELECTION)
    ]
    correlations = np.corrcoef(ranks)[np.triu_indices(len(ranks), 1)]
    assert np.abs(correlations).max() < 0.06  # four standard errors


def test_the_priorities_of_neighbouring_rows_are_uniform_and_uncorrelated():
    values = (priorities(7, np.arange(100_000), SELECTION) >> np.uint64(28)) / 2**22
    assert np.histogram(values, 20, (0, 1))[0].std() < 150  # 70 is expected
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.0127


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(PlanError, match=f"seed is {seed}; allowed: 0 to "):
        priorities(seed, np.arange(3), SELECTION)


@pytest.mark.parametrize("row", [-1, 2**28])
def test_a_row_id_out_of_range_is_refused(row):
    with pytest.raises(ValueError, match=f"row id {row} is out of range; allowed: 0 to 268435455"):
        priorities(0, np.array([5, row]), SELECTION)


def test_a_random_queue_holds_each_stratums_samples_by_priority():
    strata = stratify(lognormal(300), num_strata=7, dropped=20)
    queues = queue_at_random(strata, order_at_random(300, seed=3, stream=SELECTION))
    for stratum, start in enumerate(queues.starts):
        members = np.flatnonzero(strata.labels == stratum)
        expected = members[np.argsort(priorities(3, members, SELECTION))]
        assert queues.row_ids[start : start + len(members)].tolist() == expected.tolist()
    assert len(queues.row_ids) == 280


def test_strata_up_to_the_ten_thousandth_are_queued_apart_from_what_is_in_none():
    scores = np.append(np.arange(10_001.0), np.nan)
    strata = stratify(scores, num_strata=10_000, by="quantile", dropped=1)
    queues = queue_at_random(strata, order_at_random(len(scores), seed=0, stream=SELECTION))
    assert queues.row_ids.tolist() == list(range(10_000))


@settings(deadline=None)
@given(
    scores=st.lists(
        st.sampled_from([-0.0, 0.0, 0.5, 1.0, 1.0 + 2**-52, 1.0 + 2**-20, 7.0, np.nan]), min_size=1
    )
    .map(np.array)
    .filter(lambda s: np.isfinite(s).any())
)
def test_the_hardest_first_queue_is_by_score_and_then_by_row_id(scores):
    strata = stratify(scores, num_strata=3)
    queues = queue_hardest_first(strata, order_hardest_first(scores))
    for stratum, start in enumerate(queues.starts):
        members = np.flatnonzero(strata.labels == stratum).tolist()
        expected = sorted(members, key=lambda i: (-scores[i], i))
        assert queues.row_ids[start : start + len(members)].tolist() == expected


@pytest.mark.parametrize("within", ["random", "hardest"])
def test_a_smaller_draw_is_part_of_a_larger_one(within):
    scores = lognormal(400)
    strata = stratify(scores, num_strata=6)
    queues = (
        queue_at_random(strata, order_at_random(400, seed=0, stream=1))
        if within == "random"
        else queue_hardest_first(strata, order_hardest_first(scores))
    )
    small, large = queues.first(strata.sizes // 5), queues.first(strata.sizes // 2)
    assert set(small) < set(large)
    assert np.bincount(strata.labels[small], minlength=6).tolist() == (strata.sizes // 5).tolist()
    assert queues.first(strata.sizes).tolist() == list(range(400))
    assert queues.first(strata.sizes * 0).tolist() == []
