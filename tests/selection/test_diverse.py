import numpy as np
import pytest

from staff_engine.selection import diverse
from staff_engine.selection.diverse import DiverseOrder, coverage_of, mean_embedding, spread
from staff_engine.selection.drawing import SELECTION, order_at_random
from staff_engine.selection.strata import stratify


def clusters(count, groups=8, width=12, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (groups, width))
    return (centres[rng.integers(0, groups, count)] + rng.normal(0, 0.4, (count, width))).astype(np.float16)


def similarities(embedding, members):
    return diverse._similarities(embedding[members], mean_embedding(embedding, members))


def slow_greedy(similarity, count):
    """Every sample tried in every turn; ties go to the first."""
    best, chosen = np.full(len(similarity), -diverse.SCALE), []
    for _ in range(count):
        gains = [
            -1 if place in chosen else int(np.maximum(row.astype(int) - best, 0).sum())
            for place, row in enumerate(similarity)
        ]
        chosen.append(int(np.argmax(gains)))
        best = np.maximum(best, similarity[chosen[-1]])
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_the_lazy_order_is_that_of_the_plain_greedy_algorithm(seed):
    embedding = clusters(60, seed=seed)
    members = np.random.default_rng(seed).permutation(60)
    expected = members[slow_greedy(similarities(embedding, members), 40)]
    assert spread(members, embedding, mean_embedding(embedding, members), 40).tolist() == expected.tolist()


def test_equal_samples_are_taken_once_and_then_by_priority():
    embedding = np.repeat(np.eye(3, 5), 4, axis=0).astype(np.float16)  # three texts, four times each
    members = np.array([7, 2, 11, 0, 1, 3, 4, 5, 6, 8, 9, 10])
    taken = spread(members, embedding, mean_embedding(embedding, members), 12)
    assert set(taken[:3] // 4) == {0, 1, 2}
    left = [row for row in members.tolist() if row not in taken[:3]]
    assert taken[3:].tolist() == left


@pytest.mark.parametrize("block", [4096, 16])
def test_the_first_of_a_longer_order_are_the_shorter_one(monkeypatch, block):
    monkeypatch.setattr(diverse, "BLOCK", block)
    embedding, members = clusters(100), np.arange(100)
    centre = mean_embedding(embedding, members)
    longest = spread(members, embedding, centre, 100)
    assert sorted(longest.tolist()) == members.tolist()
    for count in (0, 1, 17, 60, 99):
        assert spread(members, embedding, centre, count).tolist() == longest[:count].tolist()


def at_random(similarity, count, rng):
    return [coverage_of(rng.permutation(len(similarity))[:count], similarity) for _ in range(20)]


@pytest.mark.parametrize("seed", range(5))
def test_its_own_objective_is_never_worse_than_at_random(seed):
    embedding, members = clusters(300, groups=30, seed=seed), np.arange(300)
    similarity = similarities(embedding, members)
    rng = np.random.default_rng(seed)
    for count in (3, 30, 120):
        ours = coverage_of(spread(members, embedding, mean_embedding(embedding, members), count), similarity)
        assert ours > max(at_random(similarity, count, rng))


@pytest.mark.parametrize("seed", range(5))
def test_in_blocks_it_is_still_better_than_random(monkeypatch, seed):
    embedding, members = clusters(900, groups=30, seed=seed), np.arange(900)
    similarity = similarities(embedding, members)
    centre = mean_embedding(embedding, members)
    whole = coverage_of(spread(members, embedding, centre, 90), similarity)
    monkeypatch.setattr(diverse, "BLOCK", 300)
    ours = coverage_of(spread(members, embedding, centre, 90), similarity)
    assert whole > ours > np.mean(at_random(similarity, 90, np.random.default_rng(seed)))


def make_order(embedding, seed=0, **settings):
    scores = np.random.default_rng(1).lognormal(size=len(embedding))
    scores[5] = np.nan
    strata = stratify(scores, num_strata=4, by="quantile", dropped=10, **settings)
    return strata, DiverseOrder(strata, embedding, order_at_random(len(scores), seed=seed, stream=SELECTION))


def test_each_stratum_gives_what_it_is_asked_for_and_only_its_own():
    strata, order = make_order(clusters(200))
    counts = np.array([3, 0, 40, int(strata.sizes[3])])
    taken = order.first(counts)
    assert strata.count(taken).tolist() == counts.tolist()
    assert taken.tolist() == sorted(set(taken.tolist())) and taken.dtype == np.int64


def test_a_larger_budget_keeps_what_a_smaller_one_took_whatever_was_asked_for_first():
    _, order = make_order(clusters(200))
    _, other = make_order(clusters(200))
    few, many = np.full(4, 5), np.full(4, 30)
    small = order.first(few)
    large = order.first(many)
    assert set(small) <= set(large)
    assert other.first(many).tolist() == large.tolist()
    assert other.first(few).tolist() == small.tolist()


def test_the_seed_decides_ties_alone():
    embedding = clusters(200)
    one, again, other = (make_order(embedding, seed)[1].first(np.full(4, 6)) for seed in (0, 0, 1))
    assert one.tolist() == again.tolist() == other.tolist()  # in one block, without ties
    same = np.ones((200, 4), np.float16)
    one, other = (make_order(same, seed)[1].first(np.full(4, 6)) for seed in (0, 1))
    assert one.tolist() != other.tolist()


def test_the_order_does_not_depend_on_the_number_of_threads():
    from threadpoolctl import threadpool_limits

    embedding, members = clusters(500, width=64), np.arange(500)
    taken = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            taken.append(spread(members, embedding, mean_embedding(embedding, members), 100).tolist())
    assert taken[0] == taken[1]
