"""One list of checks that every baseline passes, and each against its own oracle."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from staff_engine.errors import DatasetError, PlanError
from staff_engine.selection.baselines import d2
from staff_engine.selection.baselines.ccs import select_ccs
from staff_engine.selection.baselines.d2 import neighbour_graph, select_d2
from staff_engine.selection.baselines.facility import select_facility
from staff_engine.selection.baselines.kmeans import select_kmeans
from staff_engine.selection.baselines.moderate import select_moderate
from staff_engine.selection.baselines.oracle import select_oracle
from staff_engine.selection.baselines.perplexity import select_perplexity
from staff_engine.selection.baselines.ranked import select_el2n, select_grand, select_random
from staff_engine.selection.baselines.s2l import select_s2l
from staff_engine.selection.baselines.superfiltering import select_superfiltering
from staff_engine.selection.coreset import select_coreset
from staff_engine.selection.drawing import SELECTION, priorities
from staff_engine.selection.strata import coreset_size, stratify
from tests.helpers import baseline_oracles as oracles

WIDTH = 6


def without_embedding(select):
    return lambda scores, embedding, **more: select(scores, **more)


METHODS = {
    "random": without_embedding(select_random),
    "grand": without_embedding(select_grand),
    "el2n": without_embedding(select_el2n),
    "ccs": without_embedding(select_ccs),
    "d2": select_d2,
    "moderate": select_moderate,
    "perplexity": without_embedding(select_perplexity),
    "kmeans": select_kmeans,
    "facility": select_facility,
    "s2l": select_s2l,
    "oracle": lambda scores, embedding, **more: select_oracle(scores, np.arange(len(scores)) % 3 > 0, **more),
    "superfiltering": lambda scores, embedding, **more: select_superfiltering(scores, scores, **more),
}
DRAWING = {"random", "ccs", "facility", "kmeans", "oracle", "s2l"}
every_method = pytest.mark.parametrize("name", METHODS)
every_deterministic_one = pytest.mark.parametrize("name", sorted(METHODS.keys() - DRAWING))
every_rate = pytest.mark.parametrize("pruning_rate", [0.0, 0.1, 0.5, 0.9, 0.999])


def made_up(count, seed=0, missing=0.1):
    """Lognormal scores, some missing, and embeddings in five groups."""
    rng = np.random.default_rng(seed)
    scores = rng.lognormal(size=count)
    scores[rng.random(count) < missing] = np.nan
    scores[0] = 1.0  # one has a score
    embedding = rng.normal(0, 3, (5, WIDTH))[np.arange(count) % 5] + rng.normal(size=(count, WIDTH))
    embedding[np.isnan(scores)] = 0
    return scores, embedding.astype(np.float16)


# The common list


@every_method
@every_rate
@pytest.mark.parametrize("count", [1, 2, 3, 10, 257])
def test_exactly_m_different_scorable_rows_come_back_ascending(name, pruning_rate, count):
    scores, embedding = made_up(count)
    chosen = METHODS[name](scores, embedding, pruning_rate=pruning_rate)
    assert chosen.dtype == np.int64
    assert len(chosen) == coreset_size(int(np.isfinite(scores).sum()), pruning_rate)
    assert (np.diff(chosen) > 0).all()
    assert chosen.min() >= 0 and chosen.max() < count
    assert np.isfinite(scores[chosen]).all()


@every_method
@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_what_is_unscorable_changes_nothing_of_the_choice_among_the_rest(name, missing):
    scores, embedding = made_up(200, missing=0)
    added = np.concatenate([scores, [missing] * 20])
    wider = np.concatenate([embedding, np.full((20, WIDTH), np.nan, np.float16)])  # nor is it looked at
    select = partial(METHODS[name], pruning_rate=0.7)
    np.testing.assert_array_equal(select(added, wider), select(scores, embedding))


@every_method
def test_the_same_input_gives_the_same_coreset_and_is_left_as_it_was(name):
    scores, embedding = made_up(150)
    before = scores.copy(), embedding.copy()
    first = METHODS[name](scores, embedding, pruning_rate=0.8, seed=3)
    second = METHODS[name](scores, embedding, pruning_rate=0.8, seed=3)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(embedding, before[1])


@every_method
def test_the_seed_matters_only_where_something_is_drawn(name):
    scores, embedding = made_up(150)
    first, second = (METHODS[name](scores, embedding, pruning_rate=0.8, seed=seed) for seed in (0, 1))
    assert np.array_equal(first, second) == (name not in DRAWING)


@every_deterministic_one
@pytest.mark.parametrize("pruning_rate", [0.3, 0.8])
def test_rows_in_another_order_give_the_same_samples(name, pruning_rate):
    scores, embedding = made_up(211)
    carried = np.random.default_rng(5).permutation(211)  # place i holds the sample of row id carried[i]
    there = METHODS[name](scores[carried], embedding[carried], pruning_rate=pruning_rate)
    here = METHODS[name](scores, embedding, pruning_rate=pruning_rate)
    np.testing.assert_array_equal(np.sort(carried[there]), here)


def test_the_random_draw_depends_on_row_ids_alone():
    scores, _ = made_up(211, missing=0)
    shuffled = np.random.default_rng(5).permutation(scores)
    chosen = select_random(scores, pruning_rate=0.8, seed=2)
    np.testing.assert_array_equal(select_random(shuffled, pruning_rate=0.8, seed=2), chosen)
    gone = scores.copy()
    gone[np.setdiff1d(np.arange(211), chosen)[:50]] = np.nan  # those not chosen take no part in the order
    np.testing.assert_array_equal(select_random(gone, pruning_rate=1 - len(chosen) / 161, seed=2), chosen)


def test_the_draw_of_ccs_takes_of_each_stratum_the_row_ids_of_lowest_priority():
    scores, _ = made_up(300, missing=0)
    carried = np.random.default_rng(5).permutation(300)
    order = priorities(4, np.arange(300), SELECTION)
    counts = []
    for held in (scores, scores[carried]):
        chosen = select_ccs(held, pruning_rate=0.6, seed=4, num_strata=8)
        labels = stratify(held, num_strata=8, dropped=30).labels
        counts.append(np.bincount(labels[chosen], minlength=8))
        for stratum, count in enumerate(counts[-1]):
            members = np.flatnonzero(labels == stratum)
            lowest = members[np.argsort(order[members])][:count]
            assert set(lowest) <= set(chosen)
    np.testing.assert_array_equal(*counts)


@every_method
def test_a_rate_of_zero_keeps_all_that_is_scorable(name):
    scores, embedding = made_up(90)
    chosen = METHODS[name](scores, embedding, pruning_rate=0)
    np.testing.assert_array_equal(chosen, np.flatnonzero(np.isfinite(scores)))


@every_method
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_scores_and_embeddings_are_told_apart_by_row_id(name, value):
    chosen = METHODS[name](np.full(60, value), np.ones((60, WIDTH), np.float16), pruning_rate=0.9)
    middle = np.arange(27, 33)
    expected = {"moderate": middle, "perplexity": middle, "grand": np.arange(6), "el2n": np.arange(6)}
    assert len(chosen) == 6
    if name in expected:
        np.testing.assert_array_equal(chosen, expected[name])


@every_method
def test_without_a_score_there_is_no_coreset(name):
    with pytest.raises(DatasetError, match="none of the 4 samples"):
        METHODS[name](np.full(4, np.nan), np.zeros((4, 2)), pruning_rate=0.5)


@every_method
@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_out_of_range_is_refused_with_its_value(name, rate):
    with pytest.raises(PlanError, match=f"pruning_rate is {rate}"):
        METHODS[name](np.ones(4), np.zeros((4, 2)), pruning_rate=rate)


@every_method
def test_negative_scores_are_refused(name):
    with pytest.raises(ValueError, match=r"\[1\] is -2.0"):
        METHODS[name](np.array([1.0, -2.0]), np.zeros((2, 2)), pruning_rate=0.5)


@every_method
@given(
    scores=st.lists(st.floats(0, 1e6) | st.just(float("nan")), min_size=1, max_size=40),
    pruning_rate=st.floats(0, 0.999),
    seed=st.integers(0, 2**63 - 1),
    places=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_any_scores_give_exactly_m_scorable_rows(name, scores, pruning_rate, seed, places):
    scores = np.array([*scores, 1.0])
    embedding = np.random.default_rng(places).integers(-2, 3, (len(scores), 2)).astype(np.float16)
    chosen = METHODS[name](scores, embedding, pruning_rate=pruning_rate, seed=seed)
    assert len(chosen) == oracles.size_of(scores, pruning_rate)
    assert len(set(chosen.tolist())) == len(chosen)
    assert np.isfinite(scores[chosen]).all()


# Each against its oracle


@every_rate
@pytest.mark.parametrize("seed", range(3))
def test_every_method_is_its_papers_equations(pruning_rate, seed):
    scores, embedding = made_up(80, seed)
    common = {"pruning_rate": pruning_rate, "seed": seed}
    greatest = oracles.greatest(scores, pruning_rate)
    assert select_grand(scores, **common).tolist() == greatest
    assert select_el2n(scores, **common).tolist() == greatest
    assert select_random(scores, **common).tolist() == oracles.random(scores, **common)
    moderate = oracles.moderate(scores, embedding, pruning_rate)
    assert select_moderate(scores, embedding, **common).tolist() == moderate
    assert select_perplexity(scores, **common).tolist() == oracles.perplexity(scores, pruning_rate)
    facility = oracles.facility(scores, embedding, pruning_rate, seed)
    assert select_facility(scores, embedding, **common).tolist() == facility


@every_rate
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("num_strata", [1, 7, 50])
def test_ccs_is_algorithm_1_of_its_paper(pruning_rate, beta, num_strata):
    scores, _ = made_up(120)
    options = {"pruning_rate": pruning_rate, "seed": 5, "num_strata": num_strata, "beta": beta}
    assert select_ccs(scores, **options).tolist() == oracles.ccs(scores, **options)


@pytest.mark.parametrize("pruning_rate", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize(
    ("neighbours", "forward", "reverse"), [(5, 1.0, 0.1), (1, 0.0, 0.0), (3, 2.0, 1.0), (200, 1.0, 0.5)]
)
def test_d2_is_the_equations_of_its_paper(pruning_rate, beta, neighbours, forward, reverse):
    scores, embedding = made_up(70)
    options = {"neighbours": neighbours, "forward": forward, "reverse": reverse, "beta": beta}
    chosen = select_d2(scores, embedding, pruning_rate=pruning_rate, **options)
    assert chosen.tolist() == oracles.d2(scores, embedding, pruning_rate, **options)


class LastOfEquals(NearestNeighbors):
    """As scikit-learn may answer: of equally near samples the last ones."""

    def kneighbors(self, vectors, return_distance):
        turned = NearestNeighbors(n_neighbors=self.n_neighbors, algorithm="brute").fit(vectors[::-1])
        return len(vectors) - 1 - turned.kneighbors(vectors, return_distance=return_distance)


@pytest.mark.parametrize("found_by", [NearestNeighbors, LastOfEquals])
def test_d2_finds_its_neighbours_among_repeated_and_equally_near_samples_too(monkeypatch, found_by):
    monkeypatch.setattr("sklearn.neighbors.NearestNeighbors", found_by)
    monkeypatch.setattr(d2, "SPARE", 1)
    monkeypatch.setattr(d2, "BLOCK", 7)
    rng = np.random.default_rng(0)
    vectors = rng.integers(0, 3, (90, 2)).astype(np.float16)  # nine places, ten samples on each
    graph = neighbour_graph(vectors, 4)
    linked = {(i, int(j)) for i in range(90) for j in graph.ends[graph.starts[i] : graph.starts[i + 1]]}
    expected = set()
    for i in range(90):
        distances = ((vectors.astype(float) - vectors[i]) ** 2).sum(axis=1)
        others = sorted((j for j in range(90) if j != i), key=lambda j: (distances[j], j))
        expected |= {(i, j) for j in others[:4]} | {(j, i) for j in others[:4]}
    assert linked == expected


def test_the_graphs_distances_are_exact_where_samples_lie_close_together_far_from_zero():
    vectors = (1000 + np.arange(6.0)[:, None] * np.array([0.5, 0.0])).astype(np.float16)
    graph = neighbour_graph(vectors, 1)
    np.testing.assert_array_equal(graph.squared, 1.0)  # in units of the median


# What sets the methods apart


def test_the_cut_leaves_out_the_hardest_and_does_change_the_coreset():
    scores, embedding = made_up(100, missing=0)
    hardest = set(np.argsort(scores)[-30:].tolist())
    for name in ("ccs", "d2"):
        without = METHODS[name](scores, embedding, pruning_rate=0.8, beta=0.0)
        cut = METHODS[name](scores, embedding, pruning_rate=0.8, beta=0.3)
        assert hardest & set(without.tolist())
        assert not hardest & set(cut.tolist())


def test_the_cut_gives_way_where_the_coreset_needs_the_samples():
    scores, embedding = made_up(100, missing=0)
    for name in ("ccs", "d2"):
        chosen = METHODS[name](scores, embedding, pruning_rate=0.2, beta=0.5)
        np.testing.assert_array_equal(chosen, np.sort(np.argsort(scores)[:80]))


def test_ccs_is_staff_with_nothing_verified():
    scores, _ = made_up(200)
    staff = select_coreset(scores, pruning_rate=0.7, drop_hardest=0.1, seed=1)
    np.testing.assert_array_equal(select_ccs(scores, pruning_rate=0.7, seed=1), staff.indices)


def test_the_random_coreset_shares_no_draw_with_that_of_staff():
    scores = np.ones(4000)  # one stratum
    staff = select_coreset(scores, pruning_rate=0.5, drop_hardest=0.0, seed=1)
    shared = np.intersect1d(select_random(scores, pruning_rate=0.5, seed=1), staff.indices)
    assert 900 < len(shared) < 1100  # 1,000 by chance, with a standard deviation of 16


def test_d2_does_not_change_with_the_unit_of_embeddings_or_scores():
    scores, embedding = made_up(120)
    chosen = select_d2(scores, embedding, pruning_rate=0.8)
    np.testing.assert_array_equal(select_d2(scores * 1024, embedding * 64, pruning_rate=0.8), chosen)


def test_messages_spread_d2_over_places_that_effort_alone_would_leave_out():
    rng = np.random.default_rng(0)
    embedding = np.concatenate([np.zeros((50, 2)), np.full((50, 2), 100.0)]) + rng.normal(0, 1, (100, 2))
    scores = np.concatenate([rng.uniform(2, 3, 50), rng.uniform(1, 2, 50)])
    reached = {
        reverse: set(
            select_d2(scores, embedding, pruning_rate=0.8, beta=0.0, reverse=reverse, neighbours=10) // 50
        )
        for reverse in (0.0, 1e9)
    }
    assert reached == {0.0: {0, 1}, 1e9: {0}}  # a γ_r so great that no message arrives
    assert set(select_grand(scores, pruning_rate=0.8) // 50) == {0}


@pytest.mark.parametrize("select", [select_ccs, partial(select_d2, embedding=np.zeros((4, 2)))])
@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_a_beta_out_of_range_is_refused_with_its_value(select, beta):
    with pytest.raises(PlanError, match=f"beta is {beta}"):
        select(np.ones(4), pruning_rate=0.5, beta=beta)


@pytest.mark.parametrize(
    ("option", "value"), [("neighbours", 0), ("forward", -1.0), ("reverse", float("nan"))]
)
def test_the_settings_of_d2_are_refused_with_their_value(option, value):
    with pytest.raises(PlanError, match=f"{option} is {value}"):
        select_d2(np.ones(4), np.zeros((4, 2)), pruning_rate=0.5, **{option: value})


@pytest.mark.parametrize("select", [select_d2, select_moderate, select_kmeans, select_facility])
def test_embeddings_that_do_not_fit_are_refused(select):
    with pytest.raises(ValueError, match=r"embedding has shape \(3, 2\)"):
        select(np.ones(4), np.zeros((3, 2)), pruning_rate=0.5)
    with pytest.raises(ValueError, match=r"embedding\[2\] is not finite"):
        select(np.ones(4), np.array([[0.0], [1.0], [np.inf], [3.0]]), pruning_rate=0.5)


@pytest.mark.parametrize("name", ["random", "kmeans", "facility"])
def test_a_seed_out_of_range_is_refused_with_its_value(name):
    with pytest.raises(PlanError, match="seed is -1"):
        METHODS[name](np.ones(4), np.zeros((4, 2), np.float16), pruning_rate=0.5, seed=-1)
