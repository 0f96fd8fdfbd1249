import numpy as np
import pytest

from staff_engine import select_coreset
from staff_engine.charts.overlap import (
    budget_frame,
    profile_figure,
    profile_frame,
    strata_figure,
    strata_frame,
)
from staff_engine.charts.style import clipped
from staff_engine.runs.composition import Lengths


def test_samples_are_counted_in_the_strata_of_the_first():
    labels = np.array([0, 0, 1, 2, 2, -1, -2])
    frame = strata_frame(labels, np.array([0, 3]), np.array([1, 2, 4, 5]))
    assert frame.to_dict("list") == {
        "first": [-1, 0, 1, 2], "last": [-1, 0, 1, 2], "a": [0, 1, 0, 1], "b": [1, 1, 1, 1],
    }  # fmt: skip
    figure = strata_figure(frame, ("one", "two"))
    assert [trace.name for trace in figure.data] == ["one", "two"]
    assert figure.layout.annotations[0].text == "hardest, dropped"


def test_many_strata_are_drawn_with_their_neighbours():
    labels = np.arange(1000)
    frame = strata_frame(labels, np.arange(0, 1000, 2), np.arange(10))
    assert len(frame) == 200
    assert frame["a"].sum() == 500
    assert frame.iloc[0].to_dict() == {"first": 0, "last": 4, "a": 3, "b": 5}
    assert "neighbours merged" in strata_figure(frame, ("", "")).layout.xaxis.title.text


def test_shares_of_each_coreset_sum_to_one_also_with_outliers():
    values = np.append(np.linspace(1, 2, 200), 1e9)
    frame = profile_frame(values, np.arange(201), np.array([0, 200]))
    np.testing.assert_allclose(frame[["a", "b"]].sum(), 1)
    assert frame["high"].iloc[-1] < 3
    assert frame["b"].iloc[[0, -1]].tolist() == [0.5, 0.5]


def test_outliers_in_the_last_bar_are_counted_once_for_both():
    values = np.append(np.linspace(1, 2, 500), [50.0, 60.0])
    frame = profile_frame(values, np.arange(502), np.array([0, 500, 501]))
    above = np.count_nonzero(values > frame["high"].iloc[-1])
    assert frame["beyond"].tolist() == [0] * (len(frame) - 1) + [above]
    assert clipped(frame) == f"The last bar includes {above} samples above {frame['high'].iloc[-1]:.3g}."


def test_few_samples_have_few_bars():
    values = np.linspace(1, 2, 5000)
    assert len(profile_frame(values, np.arange(60), np.arange(60))) == 8
    assert len(profile_frame(values, np.arange(5000), np.arange(5000))) == 24


@pytest.mark.parametrize("value", [0, 7.5])
def test_equal_values_have_a_picture_too(value):
    frame = profile_frame(np.full(5, value), np.arange(3), np.array([4]))
    np.testing.assert_allclose(frame[["a", "b"]].sum(), 1)
    assert profile_figure(frame, ("a", "b"), x="Score").layout.xaxis.title.text == "Score"


def test_the_budgets_of_selections_stand_beside_each_other():
    scores = np.random.default_rng(0).lognormal(size=300)
    selections = {
        name: select_coreset(scores, pruning_rate=0.8, strata_by=by, num_strata=6)
        for name, by in (("one", "width"), ("two", "quantile"))
    }
    lengths = [Lengths(5, 7, 10, share, 0.2) for share in (0.1, 0.3)]
    frame = budget_frame(selections, lengths)
    assert frame["Preset"].tolist() == ["one", "two"]
    assert frame["Kept"].tolist() == [60, 60]
    assert frame["Response tokens"].tolist() == [0.1, 0.3]
    for row, selection in zip(frame.to_dict("records"), selections.values(), strict=True):
        assert row["Strata served"] == f"{(selection.strata['budget'] > 0).sum()} of 6"
        assert row["Largest budget"] == selection.strata["budget"].max()
