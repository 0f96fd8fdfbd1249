import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from staff_engine.errors import PlanError
from staff_engine.selection.agreement import rank_correlation
from staff_engine.selection.scores import SCORES, make_score

LOSSES = st.floats(0, 300)

COLUMNS = {
    "effort": np.array([2.0, 1.0, np.nan]),
    "loss": np.array([0.5, 3.0, np.nan]),
    "response_tokens": np.array([9.0, 25.0, np.nan]),
    "loss_without_prompt": np.array([2.5, 2.0, np.nan]),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("effort", [2, 1]),
        ("length-adjusted", [6, 5]),
        ("loss", [0.5, 3]),
        ("ifd", [math.exp(-2), math.exp(1)]),
    ],
)
def test_a_score_is_made_of_its_columns_and_nan_stays(name, expected):
    made = make_score(name, COLUMNS)
    assert made[:2].tolist() == expected and np.isnan(made[2])


def test_the_effort_of_tokens_in_unrelated_directions_depends_on_length_and_the_adjusted_one_does_not():
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 200, 400).astype(float)
    effort = np.array([np.linalg.norm(rng.normal(size=(int(n), 50)).mean(axis=0)) for n in lengths])
    columns = {"effort": effort, "response_tokens": lengths}
    assert rank_correlation(make_score("effort", columns), lengths) < -0.9
    assert abs(rank_correlation(make_score("length-adjusted", columns), lengths)) < 0.15


def test_the_plan_allows_the_same_scores():
    from typing import get_args

    from staff_engine.plan import Plan

    for name, more in (("score", ()), ("drop_by", ("score",))):
        assert get_args(get_args(Plan.model_fields[name].annotation)[0]) == (*more, *SCORES)


@given(st.lists(st.tuples(LOSSES, LOSSES), min_size=1, max_size=20))
def test_ifd_is_the_quotient_of_the_perplexities_and_never_below_0(pairs):
    with_prompt, without = map(np.array, zip(*pairs, strict=True))
    made = make_score("ifd", {"loss": with_prompt, "loss_without_prompt": without})
    np.testing.assert_allclose(made, np.exp(with_prompt) / np.exp(without), rtol=1e-9)
    assert (made >= 0).all()
    assert ((made > 1) <= (with_prompt > without)).all()


def test_an_ifd_that_overflows_is_no_finite_score():
    made = make_score("ifd", {"loss": np.array([1e4]), "loss_without_prompt": np.array([1.0])})
    assert not np.isfinite(made).any()


def test_an_unknown_score_is_refused_with_those_that_are_known():
    with pytest.raises(PlanError, match="score is 'ease'; allowed: effort, length-adjusted, loss"):
        make_score("ease", COLUMNS)
