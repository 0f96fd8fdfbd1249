"""Selections of more samples than are sorted whole: the same results, in little memory."""

import tracemalloc

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from staff_engine import Pool, draw_verification, select_coreset
from staff_engine.selection import pool
from staff_engine.selection.allocation import ALLOCATIONS
from staff_engine.selection.drawing import (
    SELECTION,
    order_at_random,
    order_hardest_first,
    queue_at_random,
    queue_hardest_first,
)
from staff_engine.selection.order import blocks, order_statistics
from staff_engine.selection.order.partial_order import first_at_random, first_hardest
from staff_engine.selection.strata import STRATA_BY, stratify
from staff_engine.selection.tuning import draw_tuning
from tests.helpers import frozen
from tests.helpers.scores import NAN, SAMPLES, with_ties_and_holes

FROM_SCORES = ("random", "hardest")
CUT = {
    "num_strata": st.sampled_from([1, 2, 7, 50, 10_000]),
    "strata_by": st.sampled_from(STRATA_BY),
    "drop_hardest": st.sampled_from([0.0, 0.1, 0.5]),
    "pruning_rate": st.sampled_from([0.0, 0.05, 0.5, 0.9, 0.999]),
    "seed": st.sampled_from([0, 2**62]),
}
SELECT = st.fixed_dictionaries(
    {**CUT, "allocation": st.sampled_from(ALLOCATIONS), "within": st.sampled_from(FROM_SCORES)}
)
DRAW = st.fixed_dictionaries({**CUT, "per_stratum": st.integers(0, 12)})


@pytest.fixture
def large(monkeypatch):
    """Every number of samples is large."""
    monkeypatch.setattr(order_statistics, "LARGE", 0)


def small_blocks():
    patch = pytest.MonkeyPatch()
    patch.setattr(order_statistics, "LARGE", 0)
    patch.setattr(blocks, "BLOCK", 16)
    return patch


@settings(deadline=None, max_examples=100)
@given(scores=SAMPLES, chosen=SELECT, data=st.data())
def test_many_samples_are_selected_as_few_are(scores, chosen, data):
    rows = st.dictionaries(st.integers(0, len(scores) - 1), st.floats(0, 100) | st.just(NAN), max_size=20)
    verified = data.draw(rows)
    ids, values = list(verified), list(verified.values())
    few = select_coreset(scores, ids, values, **chosen)
    patch = small_blocks()
    try:
        many = select_coreset(scores, ids, values, **chosen)
    finally:
        patch.undo()
    indices, labels = frozen.coreset(scores, ids, values, **chosen)
    assert many.indices.dtype == np.int64 and many.indices.tobytes() == indices.tobytes()
    assert many.labels.dtype == np.int16 and many.labels.tobytes() == labels.tobytes()
    assert many.warnings == few.warnings and many.strata.equals(few.strata)


@settings(deadline=None, max_examples=100)
@given(scores=SAMPLES, chosen=DRAW, data=st.data())
def test_many_samples_are_drawn_as_few_are(scores, chosen, data):
    rows = st.lists(st.integers(0, len(scores) - 1), max_size=30)
    chosen = {**chosen, "verified": data.draw(rows), "excluded": data.draw(rows)}
    patch = small_blocks()
    try:
        found = draw_verification(scores, **chosen)
    finally:
        patch.undo()
    assert found.dtype == np.int64 and found.tolist() == frozen.drawn(scores, **chosen).tolist()


@pytest.mark.parametrize("by", STRATA_BY)
@pytest.mark.parametrize("num_strata", [1, 50, 2000])
def test_the_first_of_each_stratum_are_those_of_its_queue(by, num_strata):
    scores = with_ties_and_holes(2 * blocks.BLOCK + 123)
    strata = stratify(scores, num_strata=num_strata, by=by, dropped=1000)
    at_random = queue_at_random(strata, order_at_random(len(scores), seed=3, stream=SELECTION))
    hardest = queue_hardest_first(strata, order_hardest_first(scores))
    rng = np.random.default_rng(0)
    for counts in (
        strata.sizes * 0,
        np.minimum(strata.sizes, 1),
        rng.integers(strata.sizes + 1),
        strata.sizes,
    ):
        found = first_at_random(strata, counts, seed=3, stream=SELECTION)
        assert found.tolist() == at_random.first(counts).tolist()
        assert first_hardest(strata, counts, scores).tolist() == hardest.first(counts).tolist()


@pytest.mark.parametrize(
    "scores", [[4.0], [2.0] * 9, [NAN, 0.0, np.inf], [0.0, -0.0, 5.0], [0.0, 5e-324, 1e308]]
)
def test_few_and_equal_scores_are_selected_by_the_large_way(scores, large):
    scores = np.array(scores)
    for by in STRATA_BY:
        for within in FROM_SCORES:
            for rate in (0.0, 0.5, 0.99):
                chosen = {"pruning_rate": rate, "strata_by": by, "within": within}
                expected, labels = frozen.coreset(scores, **chosen)
                selection = select_coreset(scores, **chosen)
                assert selection.indices.tolist() == expected.tolist()
                assert selection.labels.tolist() == labels.tolist()
    assert draw_verification(scores).tolist() == frozen.drawn(scores).tolist()


def test_other_cuts_and_tuning_do_not_depend_on_the_number_of_samples(monkeypatch):
    scores = with_ties_and_holes(5000)
    chosen = {"drop_scores": np.round(scores[::-1], 1), "groups": np.arange(5000) // 2, "pruning_rate": 0.6}

    def results():
        selection = select_coreset(scores, **chosen)
        tuned = draw_tuning(scores, count=300, apart_from=np.arange(50), **chosen)
        return selection.indices.tolist(), selection.labels.tolist(), tuned.tolist()

    few = results()
    monkeypatch.setattr(order_statistics, "LARGE", 0)
    assert results() == few


def test_a_large_pool_orders_nothing_whole_and_keeps_the_last_of_each(monkeypatch, large):
    for name in ("order_at_random", "order_hardest_first", "queue_at_random", "queue_hardest_first"):
        monkeypatch.setattr(pool, name, None)
    opened = Pool(with_ties_and_holes(500))
    for turn in range(3):
        for within in FROM_SCORES:
            select_coreset(opened, pruning_rate=0.5, num_strata=2 + turn, within=within)
        draw_verification(opened, num_strata=2 + turn)
    assert {kind: len(kept) for kind, kept in opened._kept.items()} == {"ranked": 1, "strata": 1}


@pytest.mark.parametrize("within", FROM_SCORES)
@pytest.mark.parametrize("scores", [with_ties_and_holes(2**20), np.full(2**20, 3.0)], ids=["varied", "equal"])
def test_a_selection_of_many_samples_takes_at_most_thirty_bytes_a_sample(within, scores, large):
    select_coreset(np.ones(3), pruning_rate=0.5, within=within)  # loads what is imported on first use
    tracemalloc.start()
    try:
        select_coreset(scores, pruning_rate=0.9, within=within)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / len(scores) < 30
