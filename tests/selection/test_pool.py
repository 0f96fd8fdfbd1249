from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from staff_engine import Pool, draw_verification, select_coreset
from staff_engine.errors import DatasetError, PlanError
from staff_engine.runs.results import open_results
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.selection import pool
from staff_engine.selection.allocation import ALLOCATIONS
from staff_engine.selection.coreset import WITHIN
from staff_engine.selection.drawing import Order
from staff_engine.selection.order.blocks import BLOCK
from staff_engine.selection.strata import STRATA_BY
from tests.helpers import frozen
from tests.helpers.made_run import make_finished_run
from tests.helpers.scores import NAN, SAMPLES, lognormal, with_ties_and_holes

FROM_SCORES = ("random", "hardest")
CUT = {
    "num_strata": st.sampled_from([1, 2, 3, 7, 50]),
    "strata_by": st.sampled_from(STRATA_BY),
    "drop_hardest": st.sampled_from([0.0, 0.1, 0.5]),
    "pruning_rate": st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.9]),
    "seed": st.sampled_from([0, 1, 2**62]),
}
SELECT = st.fixed_dictionaries(
    {**CUT, "allocation": st.sampled_from(ALLOCATIONS), "within": st.sampled_from(FROM_SCORES)}
)
DRAW = st.fixed_dictionaries({**CUT, "per_stratum": st.integers(0, 12)})


def check_same(selection, expected):
    indices, labels = expected
    assert selection.indices.dtype == np.int64 and selection.indices.tobytes() == indices.tobytes()
    assert selection.labels.dtype == np.int16 and selection.labels.tobytes() == labels.tobytes()


def kept_by(opened):
    return {kind: len(kept) for kind, kept in opened._kept.items()}


@settings(deadline=None, max_examples=100)
@given(data=st.data(), asked=st.lists(SELECT, min_size=1, max_size=8))
def test_an_open_pool_selects_what_a_new_selection_would_in_whatever_order_it_is_asked(data, asked):
    scores = data.draw(SAMPLES)
    opened = Pool(scores)
    rows = st.dictionaries(st.integers(0, len(scores) - 1), st.floats(0, 100) | st.just(NAN), max_size=20)
    for chosen in asked:
        verified = data.draw(rows)
        ids, values = list(verified), list(verified.values())
        selection = select_coreset(opened, ids, values, **chosen)
        check_same(selection, frozen.coreset(scores, ids, values, **chosen))
        once = select_coreset(scores, ids, values, **chosen)
        assert once.indices.tobytes() == selection.indices.tobytes()
        assert once.warnings == selection.warnings and once.strata.equals(selection.strata)


@settings(deadline=None, max_examples=100)
@given(data=st.data(), asked=st.lists(DRAW, min_size=1, max_size=8))
def test_an_open_pool_draws_what_a_new_draw_would_in_whatever_order_it_is_asked(data, asked):
    scores = data.draw(SAMPLES)
    opened = Pool(scores)
    rows = st.lists(st.integers(0, len(scores) - 1), max_size=30)
    for chosen in asked:
        chosen = {**chosen, "verified": data.draw(rows), "excluded": data.draw(rows)}
        found = draw_verification(opened, **chosen)
        assert found.dtype == np.int64
        assert found.tolist() == frozen.drawn(scores, **chosen).tolist()
        assert draw_verification(scores, **chosen).tolist() == found.tolist()


@pytest.mark.parametrize("by", STRATA_BY)
@pytest.mark.parametrize("within", FROM_SCORES)
def test_samples_of_several_blocks_are_selected_as_ever(by, within):
    scores = with_ties_and_holes(2 * BLOCK + 123)
    opened = Pool(scores)
    ids = np.arange(0, len(scores), 500)
    for num_strata, pruning_rate in ((50, 0.9), (50, 0.2), (7, 0.5), (2000, 0.05), (10_000, 0.95)):
        chosen = {"num_strata": num_strata, "pruning_rate": pruning_rate, "strata_by": by, "within": within}
        selection = select_coreset(opened, ids, 2 * scores[ids], **chosen)
        check_same(selection, frozen.coreset(scores, ids, 2 * scores[ids], **chosen))


def test_strata_and_ranks_that_fill_more_than_32_bits_are_queued_as_ever():
    scores = lognormal(300_000)  # 19 bits
    chosen = {"num_strata": 10_000, "strata_by": "quantile", "pruning_rate": 0.7}
    check_same(select_coreset(scores, **chosen), frozen.coreset(scores, **chosen))


def test_many_samples_are_drawn_as_ever_beside_many_verified():
    scores = with_ties_and_holes(BLOCK + 7)
    opened = Pool(scores)
    have = np.zeros(0, dtype=np.int64)
    for num_strata, per_stratum in ((50, 10), (20, 40), (300, 3), (50, 1000)):
        chosen = {"num_strata": num_strata, "per_stratum": per_stratum, "excluded": np.arange(0, 20_000, 3)}
        more = draw_verification(opened, verified=have, **chosen)
        assert more.tolist() == frozen.drawn(scores, verified=have, **chosen).tolist()
        have = np.append(have, more)


@pytest.mark.parametrize("scores", [[4.0], [2.0] * 9, [NAN, 0.0, np.inf], [0.0, 0.0, 5.0]])
def test_few_and_equal_scores_can_be_opened(scores):
    opened = Pool(scores)
    for by in STRATA_BY:
        for within in FROM_SCORES:
            chosen = {"pruning_rate": 0.5, "strata_by": by, "within": within}
            check_same(select_coreset(opened, **chosen), frozen.coreset(np.array(scores), **chosen))
    assert draw_verification(opened).tolist() == frozen.drawn(np.array(scores)).tolist()


def test_a_pool_keeps_only_the_last_few_of_each():
    opened = Pool(lognormal(500), embedding=lambda: np.eye(500, 8, dtype=np.float16))
    for turn in range(3 * max(pool.KEPT.values())):
        for within in WITHIN:
            select_coreset(opened, pruning_rate=0.5, num_strata=2 + turn, seed=turn, within=within)
        draw_verification(opened, num_strata=2 + turn, seed=turn)
        select_coreset(opened, pruning_rate=0.5, groups=np.maximum(np.arange(500), turn + 2))
    assert kept_by(opened) == pool.KEPT


def test_what_was_in_use_last_is_kept():
    opened = Pool(lognormal(500))
    often = opened.strata(num_strata=50, by="width", dropped=50)
    for num_strata in range(2, 20):
        opened.strata(num_strata=num_strata, by="width", dropped=50)
        assert opened.strata(num_strata=50, by="width", dropped=50) is often


def test_neither_strata_nor_queues_are_made_again_where_only_the_count_changes(monkeypatch):
    opened = Pool(lognormal(500))
    select_coreset(opened, pruning_rate=0.9)
    draw_verification(opened)
    for name in ("stratify", "queue_at_random", "order_at_random", "rank_scores"):
        monkeypatch.setattr(pool, name, None)
    fewer = select_coreset(opened, [0, 1], [2.0, 3.0], pruning_rate=0.5, allocation="normalized")
    assert len(fewer.indices) == 250
    assert len(draw_verification(opened, per_stratum=3, verified=[0, 1], excluded=[2]))


def test_the_priorities_are_sorted_once_whatever_the_strata(monkeypatch):
    opened = Pool(lognormal(500))
    select_coreset(opened, pruning_rate=0.9)
    monkeypatch.setattr(pool, "order_at_random", None)
    monkeypatch.setattr(pool, "rank_scores", None)
    for num_strata in (3, 9, 27):
        assert len(select_coreset(opened, pruning_rate=0.9, num_strata=num_strata).indices) == 50


def test_threads_that_share_a_pool_get_what_each_would_alone():
    scores = with_ties_and_holes(20_000)
    opened = Pool(scores)
    asked = [
        {"num_strata": k, "seed": seed, "pruning_rate": p, "within": within}
        for k in (5, 20, 50) for seed in (0, 1, 2) for p in (0.02, 0.5, 0.9) for within in FROM_SCORES
    ]  # fmt: skip
    expected = [select_coreset(scores, **chosen).indices.tobytes() for chosen in asked]
    drawn = [draw_verification(scores, num_strata=each["num_strata"]).tolist() for each in asked]

    def answer(place):
        selection = select_coreset(opened, **asked[place])
        return selection.indices.tobytes(), draw_verification(
            opened, num_strata=asked[place]["num_strata"]
        ).tolist()

    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(asked)), 3)).tolist()
    with ThreadPoolExecutor(8) as threads:
        for place, found in zip(order, threads.map(answer, order), strict=True):
            assert found == (expected[place], drawn[place])
    assert all(count <= pool.KEPT[kind] for kind, count in kept_by(opened).items())


def test_what_two_threads_want_at_once_is_made_once(monkeypatch):
    opened = Pool(lognormal(50))
    made, real = [], pool.order_at_random

    def count(*arguments, **settings) -> Order:
        made.append(settings)
        return real(*arguments, **settings)

    monkeypatch.setattr(pool, "order_at_random", count)
    with ThreadPoolExecutor(8) as threads:
        orders = list(threads.map(lambda _: opened.order_at_random(seed=0, stream=1), range(64)))
    assert made == [{"seed": 0, "stream": 1}] and len({id(order) for order in orders}) == 1


def test_what_selections_share_cannot_be_written_to():
    scores = lognormal(50)
    opened = Pool(scores)
    selection = select_coreset(opened, pruning_rate=0.5)
    for array in (selection.labels, selection.edges, selection.sizes, opened.scores):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    scores[0] = scores[0]  # the caller's own array stays theirs


def test_a_setting_that_equals_an_allowed_one_is_refused_all_the_same():
    opened = Pool(lognormal(50))
    select_coreset(opened, pruning_rate=0.5, num_strata=2)
    with pytest.raises(PlanError, match=r"num_strata is 2\.0; allowed: integers"):
        select_coreset(opened, pruning_rate=0.5, num_strata=2.0)
    with pytest.raises(PlanError, match=r"strata_by is \[\]; allowed: width"):
        select_coreset(opened, pruning_rate=0.5, strata_by=[])


def test_scores_that_cannot_be_selected_from_cannot_be_opened():
    with pytest.raises(DatasetError, match="none of the 2 samples has a finite speculative score"):
        Pool([NAN, NAN])
    with pytest.raises(ValueError, match=r"speculative\[1\] is -2.0; allowed: 0 or more"):
        Pool([1.0, -2.0])


def test_a_failed_selection_leaves_a_pool_as_good_as_it_was():
    opened = Pool(lognormal(50))
    with pytest.raises(PlanError, match="seed is -1"):
        select_coreset(opened, pruning_rate=0.5, seed=-1)
    assert len(select_coreset(opened, pruning_rate=0.5).indices) == 25


def test_the_results_of_a_run_select_and_draw_from_one_pool(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path))
    results = open_results(make_finished_run(tmp_path).folder)
    selection, missing = results.select(pruning_rate=0.5), to_verify(results, verify_per_stratum=20)
    once = select_coreset(
        results.speculative, results.verified_ids, results.verified_scores, pruning_rate=0.5, num_strata=10
    )
    assert selection.indices.tolist() == once.indices.tolist() and len(missing)
    for name in ("stratify", "queue_at_random", "order_at_random", "rank_scores"):
        monkeypatch.setattr(pool, name, None)
    again = results.select(pruning_rate=0.6)
    assert set(again.indices) < set(selection.indices) and again.labels is selection.labels
    assert len(to_verify(results, verify_per_stratum=30)) > len(missing)


def test_a_pool_reads_embeddings_once_and_only_when_they_are_needed():
    scores, read = lognormal(300), []

    def embedding():
        read.append(1)
        return np.random.default_rng(0).normal(size=(300, 6)).astype(np.float16)

    opened = Pool(scores, embedding=embedding)
    select_coreset(opened, pruning_rate=0.9)
    assert not read
    chosen = [
        select_coreset(opened, pruning_rate=rate, num_strata=4, within="diverse").indices
        for rate in (0.9, 0.5, 0.9)
    ]
    assert len(read) == 1
    assert [len(rows) for rows in chosen] == [30, 150, 30]
    assert chosen[0].tolist() == chosen[2].tolist()
    fresh = Pool(scores, embedding=embedding)
    again = select_coreset(fresh, pruning_rate=0.5, num_strata=4, within="diverse").indices
    assert again.tolist() == chosen[1].tolist()
