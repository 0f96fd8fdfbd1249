import inspect
import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import get_args

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import staff_engine
from staff_engine import Pool, Selection, draw_verification, select_coreset
from staff_engine.errors import DatasetError, PlanError
from staff_engine.plan import Plan
from staff_engine.selection.allocation import ALLOCATIONS
from staff_engine.selection.coreset import WITHIN
from staff_engine.selection.ratios.rules import RATIOS
from staff_engine.selection.strata import STRATA_BY
from tests.helpers import oracles

NAN = float("nan")
FROM_SCORES = ("random", "hardest")

SCORES = st.floats(0) | st.floats(0, 100) | st.sampled_from([0.0, 0.5, 1.0, 3.0, NAN, float("inf")])
SAMPLES = st.lists(SCORES, min_size=1, max_size=80).map(np.array).filter(lambda s: np.isfinite(s).any())

SETTINGS = st.fixed_dictionaries(
    {
        "pruning_rate": st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99]),
        "num_strata": st.integers(1, 100),
        "allocation": st.sampled_from(ALLOCATIONS),
        "within": st.sampled_from(FROM_SCORES),
        "drop_hardest": st.sampled_from([0.0, 0.1, 0.5, 0.99]),
        "seed": st.integers(0, 2**63 - 1),
    }
)


def verified_samples(scores, values=SCORES):
    return st.dictionaries(st.integers(0, len(scores) - 1), values, max_size=len(scores))


def lognormal(count, seed=0, sigma=1.0):
    return np.random.default_rng(seed).lognormal(sigma=sigma, size=count)


def with_embedding(scores):
    rng = np.random.default_rng(0)
    return Pool(scores, embedding=lambda: rng.normal(size=(len(scores), 4)).astype(np.float16))


def select(scores, verified=None, *, pruning_rate=0.9, **settings):
    verified = verified or {}
    return select_coreset(
        scores, list(verified), list(verified.values()), pruning_rate=pruning_rate, **settings
    )


@settings(deadline=None, max_examples=200)
@given(
    data=st.data(),
    settings=SETTINGS,
    by=st.sampled_from(STRATA_BY),
    ratio=st.sampled_from(RATIOS),
    within=st.sampled_from(WITHIN),
)
def test_a_coreset_is_exactly_m_scorable_samples_within_the_sizes_of_the_strata(
    data, settings, by, ratio, within
):
    scores = data.draw(SAMPLES)
    settings = {**settings, "strata_by": by, "ratio": ratio, "within": within}
    selection = select(with_embedding(scores), data.draw(verified_samples(scores)), **settings)
    scorable = np.isfinite(scores)
    indices = selection.indices
    assert len(indices) == max(1, round((1 - settings["pruning_rate"]) * int(scorable.sum())))
    assert indices.dtype == np.int64 and (np.diff(indices) > 0).all() and scorable[indices].all()
    strata = selection.strata
    assert ((strata["budget"] >= 0) & (strata["budget"] <= strata["size"])).all()
    assert strata["budget"].tolist() == np.bincount(selection.labels[indices], minlength=len(strata)).tolist()
    missing = strata["ratio"].isna()
    assert not missing.any() or ratio == "released"
    assert np.isfinite(strata["ratio"][~missing]).all() and (strata["ratio"][~missing] >= 0).all()


@settings(deadline=None, max_examples=200)
@given(data=st.data(), settings=SETTINGS)
def test_the_coreset_is_that_of_the_slow_loop(data, settings):
    numbers = st.integers(0, 40)
    scores = data.draw(st.lists(numbers | st.just(NAN), min_size=1, max_size=60))
    scores[0] = 1
    verified = data.draw(verified_samples(scores, numbers | st.just(NAN)))
    assert select(scores, verified, **settings).indices.tolist() == oracles.coreset(
        scores, verified, **settings
    )


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("within", FROM_SCORES)
def test_on_heavy_tailed_scores_it_is_that_of_the_slow_loop_too(allocation, within):
    scores = lognormal(2000, sigma=1.5)
    drawn = draw_verification(scores, seed=4)
    verified = {
        int(i): float(scores[i] * factor) for i, factor in zip(drawn, lognormal(len(drawn), 1), strict=True)
    }
    settings = {"num_strata": 50, "drop_hardest": 0.1, "seed": 4, "allocation": allocation, "within": within}
    for pruning_rate in (0.2, 0.5, 0.9, 0.99):
        selection = select(scores, verified, pruning_rate=pruning_rate, **settings)
        expected = oracles.coreset(scores.tolist(), verified, pruning_rate=pruning_rate, **settings)
        assert selection.indices.tolist() == expected


def test_the_table_of_strata_says_where_each_sample_of_the_coreset_is_from():
    selection = select(np.arange(20.0), {0: 3, 9: 4, 17: 5}, pruning_rate=0.8, num_strata=3)
    assert selection.strata.columns.tolist() == [
        "stratum", "low", "high", "size", "verified", "ratio", "ratio_low", "ratio_high", "paper_ratio",
        "budget",
    ]  # fmt: skip
    assert selection.strata["stratum"].tolist() == [0, 1, 2]
    assert selection.strata["low"].tolist() == pytest.approx([0, 17 / 3, 34 / 3])
    assert selection.strata["high"].tolist() == pytest.approx([17 / 3, 34 / 3, 17])
    assert selection.strata["size"].tolist() == [6, 6, 6]
    assert selection.strata["verified"].tolist() == [1, 1, 1]
    assert selection.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [-1, -1]
    assert selection.strata is selection.strata, "made once"


def test_a_stratum_that_the_target_finds_harder_gives_more():
    scores = np.arange(1000.0)
    verified = {i: (5.0 if i >= 450 else 1.0) * i for i in range(0, 900, 9)}
    easy, hard = select(scores, verified, num_strata=2).budget
    assert 2 * easy < hard and easy + hard == 100


def test_with_nothing_verified_every_stratum_gives_an_equal_share():
    selection = select(np.arange(1000.0), num_strata=9)
    assert selection.budget.tolist() == [11] * 8 + [12]
    assert selection.ratios.tolist() == [1] * 9
    assert selection.warnings == ("No sample in the strata is verified, so every ratio is 1.",)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@settings(deadline=None)
@given(factor=st.floats(1e-3, 1e3))
def test_a_target_that_is_proportional_to_the_small_model_changes_nothing(allocation, factor):
    scores = lognormal(300)
    verified = dict(enumerate(factor * scores))
    for pruning_rate in (0.5, 0.9):
        proportional = select(scores, verified, pruning_rate=pruning_rate, allocation=allocation)
        unverified = select(scores, pruning_rate=pruning_rate, allocation=allocation)
        assert proportional.indices.tolist() == unverified.indices.tolist()


@pytest.mark.parametrize("within", WITHIN)
def test_within_a_stratum_the_coreset_of_a_smaller_budget_is_part_of_the_larger_ones(within):
    scores = with_embedding(lognormal(1000))
    selections = [select(scores, pruning_rate=p, within=within, num_strata=20) for p in (0.9, 0.8, 0.5, 0.2)]
    for small, large in pairwise(selections):
        for stratum in np.flatnonzero(small.budget <= large.budget):
            of_small, of_large = (set(s.indices[s.labels[s.indices] == stratum]) for s in (small, large))
            assert of_small <= of_large


def test_hardest_takes_the_greatest_scores_of_a_stratum_and_random_does_not():
    scores = lognormal(500)
    hardest, random = (
        select(scores, within=within, num_strata=1, seed=2) for within in ("hardest", "random")
    )
    assert hardest.indices.tolist() == np.sort(np.argsort(scores)[400:450]).tolist()
    assert len(set(random.indices) & set(hardest.indices)) < 20


def test_the_seed_changes_a_random_draw_and_the_same_seed_repeats_it():
    indices = [select(lognormal(500), seed=seed).indices.tolist() for seed in (0, 0, 1)]
    assert indices[0] == indices[1] != indices[2]


def test_what_is_verified_says_nothing_of_what_is_selected():
    scores = np.ones(10_000)
    chosen = select(scores, pruning_rate=0.9).indices
    drawn = draw_verification(scores, per_stratum=1000)
    assert 60 < len(set(drawn) & set(chosen)) < 140  # 100 is expected


@settings(deadline=None)
@given(data=st.data())
def test_the_order_of_the_verified_samples_does_not_matter(data):
    scores = lognormal(60)
    verified = data.draw(verified_samples(scores, st.floats(0, 10)))
    shuffled = dict(data.draw(st.permutations(list(verified.items()))))
    one, other = select(scores, verified, num_strata=5), select(scores, shuffled, num_strata=5)
    assert one.indices.tolist() == other.indices.tolist() and one.strata.equals(other.strata)


@settings(deadline=None)
@given(data=st.data())
def test_unscorable_samples_do_not_change_the_counts(data):
    scores = lognormal(50)
    places = data.draw(st.lists(st.integers(0, 50), max_size=10))
    with_holes = np.insert(scores, places, NAN)
    one, other = select(scores, num_strata=4), select(with_holes, num_strata=4)
    assert one.strata.equals(other.strata) and len(one.indices) == len(other.indices)


def test_if_too_few_would_be_left_fewer_are_dropped_and_a_warning_says_so():
    scores = lognormal(100)
    selection = select(scores, dict(enumerate(scores)), pruning_rate=0.1, drop_hardest=0.3)
    assert selection.indices.tolist() == np.sort(np.argsort(scores)[:90]).tolist()
    assert selection.warnings == (
        "The coreset needs 90 of 100 samples: the 10 hardest are dropped, not 30 (drop_hardest is 0.3).",
    )
    assert not select(scores, dict(enumerate(scores)), pruning_rate=0.1, drop_hardest=0.1).warnings


def test_pruning_rate_0_takes_every_scorable_sample():
    scores = np.array([3.0, NAN, 1.0, 2.0, 2.0])
    assert select(scores, {0: 9, 2: 1}, pruning_rate=0, num_strata=3).indices.tolist() == [0, 2, 3, 4]


@pytest.mark.parametrize("pruning_rate", [0, 0.9])
def test_one_sample_is_its_own_coreset(pruning_rate):
    assert select([4.0], pruning_rate=pruning_rate).indices.tolist() == [0]


def test_a_coreset_has_at_least_one_sample():
    assert len(select(lognormal(20), pruning_rate=0.999).indices) == 1


def test_equal_scores_give_one_stratum_and_a_plain_draw():
    selection = select(np.full(100, 2.0), {3: 1, 5: 4})
    assert len(selection.strata) == 1 and selection.strata["size"].tolist() == [90]
    assert len(selection.indices) == 10 and selection.ratios.tolist() == [1]


def test_more_strata_than_samples_are_served_all_the_same():
    selection = select(np.arange(10.0), pruning_rate=0.5, num_strata=100)
    assert len(selection.indices) == 5 and len(selection.strata) == 100


def test_empty_strata_stay_in_the_table_and_get_nothing():
    selection = select(np.append(np.linspace(0, 0.9, 90), np.full(10, 9.0)), drop_hardest=0, num_strata=9)
    assert selection.strata["size"].tolist() == [90, 0, 0, 0, 0, 0, 0, 0, 10]
    assert selection.strata["budget"].tolist() == [5, 0, 0, 0, 0, 0, 0, 0, 5]


@pytest.mark.parametrize(
    ("scores", "verified"), [([1.0, 2, 3, 4], {0: 0.0, 3: 0.0}), ([0.0, 0, 0, 0], {0: 1.0, 1: 2.0})]
)
def test_verified_scores_that_sum_to_0_are_as_good_as_none_and_a_warning_says_so(scores, verified):
    selection = select(scores, verified, pruning_rate=0.5, drop_hardest=0, num_strata=2)
    assert (
        selection.indices.tolist()
        == select(scores, pruning_rate=0.5, drop_hardest=0, num_strata=2).indices.tolist()
    )
    assert selection.warnings == (
        "The scores of the verified samples sum to 0 on one model, so every ratio is 1.",
    )


def test_verified_scores_that_are_not_finite_are_ignored_and_counted():
    scores = np.arange(40.0)
    selection = select(scores, {**dict(enumerate(scores)), 3: NAN, 5: float("inf")}, num_strata=4)
    assert selection.warnings == ("2 verified samples have no finite score and are ignored.",)
    assert selection.verified.sum() == 34


def test_strata_without_a_verified_sample_are_counted_in_a_warning():
    selection = select(np.arange(40.0), {0: 1.0, 35: 2.0}, num_strata=4)
    assert selection.warnings == ("2 of the 4 strata in use have no verified sample, so their ratio is 1.",)


def test_strata_are_cut_as_they_are_drawn_for_verification():
    scores = lognormal(1000, sigma=2)
    for by in STRATA_BY:
        drawn = draw_verification(scores, strata_by=by)
        strata = select(scores, {int(i): 1.0 for i in drawn}, strata_by=by).strata
        assert strata["verified"].tolist() == np.minimum(10, strata["size"]).tolist()


def test_a_selection_can_be_pickled_with_its_table():
    selection = select(lognormal(50), {0: 1.0, 1: 2.0})
    copy = pickle.loads(pickle.dumps(selection))
    assert copy.indices.tolist() == selection.indices.tolist() and copy.strata.equals(selection.strata)


def test_scores_may_be_lists_or_of_single_precision_and_stay_as_they_are():
    scores = lognormal(100).astype(np.float32)
    before = scores.astype(np.float64)
    for given_scores in (scores, before, before.tolist()):
        for by in STRATA_BY:
            assert len(select(given_scores, strata_by=by).indices) == 10
    assert np.array_equal(scores, before)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"pruning_rate": 1.0}, "pruning_rate is 1.0; allowed: 0 or more and below 1"),
        ({"pruning_rate": -0.1}, "pruning_rate is -0.1; allowed: 0 or more and below 1"),
        ({"pruning_rate": NAN}, "pruning_rate is nan; allowed: 0 or more and below 1"),
        ({"drop_hardest": 1.5}, "drop_hardest is 1.5; allowed: 0 or more and below 1"),
        ({"num_strata": 0}, "num_strata is 0; allowed: integers from 1 to 10,000"),
        ({"strata_by": "area"}, "strata_by is 'area'; allowed: width, log, quantile"),
        ({"allocation": "equal"}, "allocation is 'equal'; allowed: paper, normalized"),
        ({"within": "easiest"}, "within is 'easiest'; allowed: random, hardest"),
        ({"seed": -1}, "seed is -1; allowed: 0 to "),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(settings, says):
    with pytest.raises(PlanError, match=says):
        select([1.0, 2.0, 3.0], **settings)


@pytest.mark.parametrize(
    ("setting", "known"), [("strata_by", STRATA_BY), ("allocation", ALLOCATIONS), ("within", WITHIN)]
)
def test_the_plan_takes_the_names_that_the_array_core_knows_and_their_default(setting, known):
    field = Plan.model_fields[setting]
    assert get_args(field.annotation) == known
    assert field.default == inspect.signature(select_coreset).parameters[setting].default


def test_verified_samples_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="verified row id 3 is unknown; allowed: 0 to 2"):
        select([1.0, 2.0, 3.0], {3: 1.0})
    with pytest.raises(ValueError, match=r"speculative\[1\] is -2.0; allowed: 0 or more"):
        select([1.0, -2.0, 3.0])


def test_without_any_finite_score_there_is_no_coreset():
    with pytest.raises(DatasetError, match="none of the 3 samples has a finite speculative score"):
        select([NAN, NAN, float("inf")])


def test_the_engine_offers_the_array_core_and_loads_numpy_only():
    assert staff_engine.__all__ == ["Pool", "Selection", "draw_verification", "select_coreset"]
    assert isinstance(select([1.0]), Selection)
    code = "import sys, staff_engine, numpy; staff_engine.select_coreset(numpy.ones(9), pruning_rate=0.5)\n"
    code += "print(*{name.partition('.')[0] for name in sys.modules})"
    folder = Path(staff_engine.__file__).parent.parent
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert not {"pandas", "scipy", "pyarrow", "torch", "pydantic"} & set(run.stdout.split())
