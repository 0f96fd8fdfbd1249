"""What is left out before a selection: near duplicates and the hardest, by the score or by another."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from staff_engine import Pool, draw_verification, select_coreset
from staff_engine.selection.cuts.cut import cut
from staff_engine.selection.cuts.duplicates import surplus_of
from staff_engine.selection.strata import DROPPED, DUPLICATE, NO_SCORE
from staff_engine.selection.tuning import draw_tuning

NAN = float("nan")
SCORES = st.lists(st.floats(0, 100) | st.just(NAN), min_size=1, max_size=60).map(np.array)
SCORED = SCORES.filter(lambda scores: np.isfinite(scores).any())


def groups_for(scores):
    return st.lists(st.integers(0, 6), min_size=len(scores), max_size=len(scores)).map(np.array)


@given(st.data())
def test_all_but_the_first_of_a_group_that_has_a_score_are_surplus(data):
    scores = data.draw(SCORES)
    groups = data.draw(groups_for(scores))
    first, expected = {}, []
    for row, group in enumerate(groups.tolist()):
        if np.isfinite(scores[row]) and first.setdefault(group, row) != row:
            expected.append([row, first[group]])
    assert surplus_of(groups, scores).tolist() == expected


@settings(deadline=None, max_examples=200)
@given(st.data(), st.sampled_from([0.0, 0.3, 0.8, 0.95]), st.sampled_from([0.0, 0.1, 0.6]))
def test_a_coreset_has_exactly_m_samples_and_one_of_each_group_as_long_as_that_is_possible(
    data, pruning_rate, drop_hardest
):
    scores = data.draw(SCORED)
    groups = data.draw(groups_for(scores))
    other = data.draw(st.none() | st.permutations(range(len(scores))).map(lambda p: np.array(p, float)))
    how = {"pruning_rate": pruning_rate, "drop_hardest": drop_hardest, "num_strata": 5}
    selection = select_coreset(scores, groups=groups, drop_scores=other, **how)
    scorable = int(np.isfinite(scores).sum())
    m = max(1, round((1 - pruning_rate) * scorable))
    assert len(selection.indices) == m and np.isfinite(scores[selection.indices]).all()
    labels = selection.labels
    surplus = surplus_of(groups, scores)
    left_out = selection.duplicates
    assert left_out.tolist() == surplus[: scorable - m].tolist()
    assert (labels == DUPLICATE).nonzero()[0].tolist() == left_out[:, 0].tolist()
    assert ((labels == NO_SCORE) == ~np.isfinite(scores)).all()
    warned = any("near duplicates are left out, not all" in each for each in selection.warnings)
    assert warned == (len(left_out) < len(surplus))
    if not warned:
        assert len(np.unique(groups[selection.indices])) == m
    left = scorable - len(left_out)
    dropped = min(int(drop_hardest * left), left - m)
    ranked = scores if other is None else other
    out, kept = ranked[labels == DROPPED], ranked[labels >= 0]
    assert len(out) == dropped and (not len(out) or out.min() >= kept.max())


@given(st.data())
def test_groups_of_one_and_the_same_score_for_the_hardest_change_nothing(data):
    scores = data.draw(SCORED)
    plain = select_coreset(scores, pruning_rate=0.5, num_strata=4)
    same = select_coreset(
        scores, pruning_rate=0.5, num_strata=4, groups=np.arange(len(scores)), drop_scores=scores
    )
    for name in ("indices", "labels", "edges", "sizes", "budget"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(same, name))


def test_what_is_left_out_is_neither_verified_nor_tuned_on():
    rng = np.random.default_rng(0)
    scores = rng.lognormal(size=600)
    groups = np.arange(600) // 3
    other = rng.random(600)
    how = {"groups": groups, "drop_scores": other, "num_strata": 10, "pruning_rate": 0.9}
    selection = select_coreset(scores, **how)
    drawn = draw_verification(scores, per_stratum=5, **how)
    tuned = draw_tuning(scores, count=40, apart_from=drawn, **how)
    assert (selection.labels[drawn] >= 0).all() and (selection.labels[tuned] >= 0).all()
    counts = np.bincount(selection.labels[drawn], minlength=10)
    assert counts.tolist() == np.minimum(5, selection.sizes).tolist()
    assert set(np.unique(selection.labels)) >= {DROPPED, DUPLICATE}


def test_the_shares_are_of_what_the_near_duplicates_leave():
    scores = np.arange(1.0, 101.0)
    groups = np.arange(100) // 2
    left = cut(Pool(scores), keep=10, drop_hardest=0.1, groups=groups)
    assert len(left.duplicates) == 50 and left.dropped == 5
    assert left.warnings == ()
    few = cut(Pool(scores), keep=80, drop_hardest=0.1, groups=groups)
    assert (len(few.duplicates), few.dropped) == (20, 0)
    assert few.warnings == (
        "The coreset needs 80 samples: 20 near duplicates are left out, not all 50.",
        "The coreset needs 80 of 80 samples: the 0 hardest are dropped, not 8 (drop_hardest is 0.1).",
    )


def test_a_sample_without_the_other_score_is_not_dropped_by_it():
    scores, other = np.arange(1.0, 11.0), np.array([NAN, 9, 8, 7, 6, 5, 4, 3, 2, 1])
    selection = select_coreset(scores, pruning_rate=0.5, drop_hardest=0.3, drop_scores=other, num_strata=2)
    assert (selection.labels == DROPPED).nonzero()[0].tolist() == [1, 2, 3]


def test_a_pool_serves_selections_with_and_without_cuts():
    scores = np.random.default_rng(1).lognormal(size=200)
    groups, pool = np.arange(200) // 2, Pool(scores)
    for more in ({}, {"groups": groups}, {}, {"groups": groups, "drop_scores": scores[::-1].copy()}):
        fresh, kept = (select_coreset(each, pruning_rate=0.8, **more) for each in (scores, pool))
        assert fresh.indices.tolist() == kept.indices.tolist()
        assert not kept.labels.flags.writeable


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"groups": np.zeros(2, int)}, "groups has 2 values; allowed: one for each of 3 scores"),
        ({"drop_scores": np.zeros(2)}, "drop_scores has 2 values; allowed: one for each of 3 scores"),
        ({"drop_scores": np.array([1, -1.0, 0])}, r"drop_scores\[1\] is -1.0; allowed: 0 or more"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(more, says):
    with pytest.raises(ValueError, match=says):
        select_coreset(np.ones(3), pruning_rate=0.5, **more)
