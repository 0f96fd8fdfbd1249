"""The samples on which the target is fine-tuned: their choice, and that they are never verified."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from staff_engine import draw_verification
from staff_engine.errors import DatasetError
from staff_engine.selection.strata import STRATA_BY, stratify
from staff_engine.selection.tuning import draw_tuning
from tests.helpers import oracles


def lognormal(count, seed=0):
    return np.random.default_rng(seed).lognormal(size=count)


def both(scores, *, count, per_stratum, **settings):
    """The samples of a plan's verification, and those to tune the target on."""
    verified = draw_verification(scores, per_stratum=per_stratum, **settings)
    return verified, draw_tuning(scores, count=count, apart_from=verified, **settings)


@settings(deadline=None)
@given(
    seed=st.integers(0, 99),
    samples=st.integers(1, 300),
    count=st.integers(0, 120),
    num_strata=st.integers(1, 80),
    per_stratum=st.integers(0, 12),
    by=st.sampled_from(STRATA_BY),
)
def test_the_tuning_samples_are_as_many_as_asked_or_all_beside_the_verified(
    seed, samples, count, num_strata, per_stratum, by
):
    scores = lognormal(samples, seed)
    kind = {"num_strata": num_strata, "strata_by": by, "seed": seed}
    verified, tuned = both(scores, count=count, per_stratum=per_stratum, **kind)
    assert not set(verified) & set(tuned)
    assert len(tuned) == min(count, samples - samples // 10 - len(verified))
    assert tuned.dtype == np.int64 and (np.diff(tuned) > 0).all()
    assert len(np.intersect1d(tuned, np.argsort(scores, kind="stable")[samples - samples // 10 :])) == 0


def test_each_stratum_gives_as_many_or_all_that_it_has_to_give():
    scores = lognormal(400)
    verified, tuned = both(scores, count=60, per_stratum=5, num_strata=8)
    strata = stratify(scores, num_strata=8, dropped=40)
    room = strata.sizes - np.bincount(strata.labels[verified], minlength=8)
    given = np.bincount(strata.labels[tuned], minlength=8)
    equal = given[given < room]
    assert 0 < len(equal) < 8
    assert np.ptp(equal) <= 1
    assert (given[given == room] <= equal.max()).all()


def test_in_a_stratum_they_are_the_last_ones_in_the_order_of_verification():
    scores = lognormal(200)
    labels = oracles.width_labels(scores.tolist(), 3, 20)
    _, tuned = both(scores, count=9, per_stratum=2, num_strata=3, seed=9)
    expected = []
    for stratum in range(3):
        members = [row for row, label in enumerate(labels) if label == stratum]
        expected += sorted(members, key=lambda row: oracles.priority(9, row, 0))[-3:]
    assert tuned.tolist() == sorted(expected)


def test_a_smaller_tuning_set_is_part_of_a_larger_one():
    scores = lognormal(500)
    verified = draw_verification(scores, num_strata=10)
    small, large = (draw_tuning(scores, count=n, apart_from=verified, num_strata=10) for n in (20, 60))
    assert set(small) < set(large)


@settings(deadline=None)
@given(
    first=st.integers(1, 60),
    then=st.integers(1, 60),
    per_stratum=st.integers(1, 40),
    by=st.sampled_from(STRATA_BY),
    seed=st.integers(0, 3),
)
def test_what_the_target_was_tuned_on_is_not_verified_under_any_other_strata(
    first, then, per_stratum, by, seed
):
    scores = lognormal(300)
    have, tuned = both(scores, count=60, per_stratum=5, num_strata=first)
    later = {"num_strata": then, "strata_by": by, "per_stratum": per_stratum, "seed": seed}
    more = draw_verification(scores, verified=have, excluded=tuned, **later)
    assert not set(tuned) & set(more)
    strata = stratify(scores, num_strata=then, by=by, dropped=30)
    counts = [np.bincount(strata.labels[rows], minlength=len(strata.sizes)) for rows in (have, more, tuned)]
    wanted = np.minimum(per_stratum, strata.sizes - counts[2])
    assert (counts[0] + counts[1]).tolist() == np.maximum(counts[0], wanted).tolist()
    whole = np.concatenate([have, more])
    assert len(draw_verification(scores, verified=whole, excluded=tuned, **later)) == 0, "not for ever"


def test_more_verified_in_the_same_strata_are_those_of_an_untouched_target():
    scores = lognormal(2000)
    kind = {"num_strata": 4, "strata_by": "quantile"}
    have, tuned = both(scores, count=40, per_stratum=3, **kind)
    more = {"per_stratum": 300, "verified": have, **kind}
    untouched = draw_verification(scores, **more)
    assert draw_verification(scores, excluded=tuned, **more).tolist() == untouched.tolist()


def test_nothing_excluded_is_the_draw_that_it_was():
    scores = lognormal(300)
    assert draw_verification(scores, excluded=[]).tolist() == draw_verification(scores).tolist()


def test_a_verified_sample_that_is_excluded_does_not_count():
    scores = np.arange(20.0)
    fresh = draw_verification(scores, num_strata=1, per_stratum=3)
    again = draw_verification(scores, num_strata=1, per_stratum=3, verified=fresh, excluded=fresh)
    assert len(again) == 3 and not set(again) & set(fresh)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_unknown_excluded_row_is_named(wrong):
    with pytest.raises(ValueError, match=f"excluded row id {wrong} is unknown; allowed: 0 to 2"):
        draw_verification([1.0, 2.0, 3.0], excluded=[0, wrong])


def test_nothing_can_be_drawn_where_nothing_is_scorable():
    with pytest.raises(DatasetError, match="none of the 2 samples has a finite speculative score"):
        draw_tuning([np.nan, np.nan], count=1)
