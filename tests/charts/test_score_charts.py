"""Both models' distributions of scores, their axis, and what all figures of the page make of corners."""

import json

import numpy as np
import pandas as pd
import pytest

from staff_engine.charts import scores
from staff_engine.charts.relations import band_figure, band_frame, pair_figure, pair_frame
from staff_engine.charts.score_axis import (
    chosen_range,
    limits,
    log_ticks,
    placed,
    score_units,
    scored,
    spaced,
)
from staff_engine.charts.scores import (
    chosen_scores,
    clipped,
    covers_all,
    distribution_figure,
    distribution_frame,
)
from tests.helpers.made_columns import made, names


def test_one_is_each_models_median_over_the_samples_that_both_have_scored():
    columns = made(small=[1, 2, 3, 50, 60, np.nan], target=[10, 20, 30, np.nan, np.nan, 99])
    units = score_units(columns)
    assert (units.small, units.target, units.samples) == (2, 20, 3)


def test_without_verified_samples_one_is_the_small_models_median_over_all():
    units = score_units(made(small=[1, 2, 9, np.nan], target=[np.nan] * 4))
    assert (units.small, units.samples) == (2, 0)
    assert np.isnan(units.target)


def test_a_median_of_zero_is_no_unit():
    units = score_units(made(small=[0, 0, 0, 8], target=[0, 0, 0, 0]))
    assert (units.small, units.target) == (2, 1)


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("on", ["verified", "all"])
def test_every_sample_is_in_a_bar(on, scale):
    columns = made()
    frame = distribution_frame(columns, score_units(columns), on=on, scale=scale)
    counts = frame.groupby("model")["samples"].sum().to_dict()
    assert counts == ({"small": 60, "target": 60} if on == "verified" else {"small": 300})
    for _, bars in frame.groupby("model"):
        assert bars["share"].sum() == pytest.approx(1)
        assert bars["cumulative"].iloc[-1] == pytest.approx(1)
        assert (bars["high"].to_numpy()[:-1] == bars["low"].to_numpy()[1:]).all()


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_bars_count_as_a_slow_loop_does(scale):
    columns = made(500, 500)
    units = score_units(columns)
    frame = distribution_frame(columns, units, scale=scale)
    for model, values in (("small", columns.speculative / units.small),):
        bars = frame[frame["model"] == model]
        last = len(bars) - 1
        for i, bar in enumerate(bars.itertuples()):
            low = -np.inf if i == 0 else bar.low
            high = np.inf if i == last else bar.high
            assert bar.samples == sum(low <= value < high for value in values)


def test_both_models_have_the_same_bars_and_the_same_shape_where_one_is_a_multiple():
    columns = made(small=np.arange(1.0, 101), target=7 * np.arange(1.0, 101))
    frame = distribution_frame(columns, score_units(columns))
    small, target = (frame[frame["model"] == model].reset_index() for model in ("small", "target"))
    pd.testing.assert_series_equal(small["samples"], target["samples"])
    pd.testing.assert_series_equal(small["low"], target["low"])


def test_the_target_stands_on_all_only_where_it_has_scored_all():
    part, whole = made(100, 99), made(100, 100)
    assert (covers_all(part), covers_all(whole)) == (False, True)
    assert set(distribution_frame(part, score_units(part), on="all")["model"]) == {"small"}
    assert set(distribution_frame(whole, score_units(whole), on="all")["model"]) == {"small", "target"}


def test_a_filter_leaves_a_part_of_every_bar_and_of_the_same_whole():
    columns = made()
    mask = columns.response_tokens > 20
    frame = distribution_frame(columns, score_units(columns), on="all", mask=mask)
    whole, chosen = (frame[frame["part"] == part].reset_index() for part in ("all", "chosen"))
    assert (chosen["samples"] <= whole["samples"]).all()
    assert chosen["samples"].sum() == mask.sum()
    assert chosen["share"].sum() == pytest.approx(mask.mean())


def test_a_filter_that_nothing_passes_still_has_a_picture():
    columns = made()
    mask = np.zeros(300, dtype=bool)
    frame = distribution_frame(columns, score_units(columns), mask=mask)
    assert frame[frame["part"] == "chosen"]["samples"].sum() == 0
    distribution_figure(frame).to_json()
    pair_figure(pair_frame(columns, score_units(columns), mask=mask)).to_json()
    bands = band_frame(columns.loss, columns.speculative, 1.0, mask=mask)
    band_figure(bands, x="Loss").to_json()
    assert bands[bands["part"] == "chosen"]["samples"].tolist() == [0]


def test_nothing_verified_is_an_empty_frame_and_all_are_still_shown():
    columns = made(target=np.full(300, np.nan))
    units = score_units(columns)
    assert distribution_frame(columns, units).empty
    assert pair_frame(columns, units).empty
    frame = distribution_frame(columns, units, on="all")
    assert frame["samples"].sum() == 300
    assert scores.reading(frame, columns, units)[-1].startswith("1 is the small model's median over all")


def test_outliers_are_counted_in_the_last_bar_and_said():
    columns = made(small=[*np.linspace(0.5, 1.5, 1000), 500, 900], target=np.full(1002, np.nan))
    frame = distribution_frame(columns, score_units(columns), on="all")
    assert frame["high"].max() < 2.3
    assert frame["beyond"].tolist()[-1] == 2
    assert clipped(frame) == [
        f"Small model: 2 samples above {frame['high'].max():.3g} are in the last bar.",
    ]


def test_one_outlier_is_said_in_the_singular_and_scores_of_zero_are_below_a_logarithm():
    columns = made(small=[0.0, *np.geomspace(0.5, 2, 499), 1.0], target=np.full(501, np.nan))
    frame = distribution_frame(columns, score_units(columns), on="all", scale="log")
    assert clipped(frame) == [f"Small model: 1 sample below {frame['low'].min():.3g} is in the first bar."]
    assert frame["samples"].sum() == 501


def test_without_outliers_nothing_is_said():
    columns = made(small=np.linspace(0, 2, 200), target=np.full(200, np.nan))
    frame = distribution_frame(columns, score_units(columns), on="all")
    assert clipped(frame) == []
    assert frame["high"].max() == pytest.approx(2)


@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_equal_scores_have_a_picture(scale, value):
    columns = made(small=np.full(20, value), target=np.full(20, value))
    units = score_units(columns)
    frame = distribution_frame(columns, units, scale=scale)
    assert frame.groupby("model")["samples"].sum().to_dict() == {"small": 20, "target": 20}
    distribution_figure(frame, [value, value], unit=units.small, scale=scale, left_out=True).to_json()
    pairs = pair_frame(columns, units, scale=scale)
    if len(pairs):
        pair_figure(pairs, scale=scale).to_json()
    bands = band_frame(columns.loss, columns.speculative, units.small)
    band_figure(bands, x="Loss", scale=scale).to_json()


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_figure_has_both_models_in_their_colours_and_the_edges_of_the_strata(scale):
    columns = made()
    units = score_units(columns)
    frame = distribution_frame(columns, units, scale=scale)
    figure = distribution_figure(frame, [0.5, 1.0, 2.0], unit=units.small, scale=scale, left_out=True)
    small, target, edges = figure.data
    assert (small.name, small.marker.color) == ("Small model", "#2F8FD8")
    assert (target.name, target.line.color) == ("Target", "#E0752D")
    assert edges.name == "Edges of the strata"
    drawn = scored([x for x, y in zip(edges.x, edges.y, strict=True) if y == 1], scale)
    assert drawn == pytest.approx(np.array([0.5, 1.0, 2.0]) / units.small)
    (area,) = figure.layout.shapes
    assert scored(area.x0, scale) == pytest.approx(2 / units.small)
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text
    assert "NaN" not in json.dumps(json.loads(figure.to_json())["layout"]["shapes"])


def test_the_words_on_what_is_left_out_end_with_the_axis_and_are_not_cut_off():
    columns = made()
    frame = distribution_frame(columns, score_units(columns))
    figure = distribution_figure(frame, [0.5, 1.0], left_out=True)
    [said] = figure.layout.annotations
    assert (said.text, said.xanchor, said.x) == ("hardest, dropped", "right", frame["high"].max())


def test_with_a_filter_all_is_grey_behind_the_colours():
    columns = made()
    frame = distribution_frame(columns, score_units(columns), mask=columns.response_tokens > 20)
    for shape in ("density", "cumulative"):
        figure = distribution_figure(frame, shape=shape)
        assert names(figure) == [
            "Small model, all samples", "Target, all samples", "Small model", "Target",
        ]  # fmt: skip


def test_too_many_edges_are_left_out():
    columns = made()
    frame = distribution_frame(columns, score_units(columns))
    figure = distribution_figure(frame, np.linspace(0, 2, scores.MOST_EDGES + 2))
    assert "Edges of the strata" not in names(figure)


def test_a_cumulative_figure_ends_at_all():
    columns = made()
    frame = distribution_frame(columns, score_units(columns))
    figure = distribution_figure(frame, shape="cumulative")
    assert [trace.y[-1] for trace in figure.data] == pytest.approx([1, 1])


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_box_chooses_the_bars_it_touches_in_the_models_own_unit(scale):
    columns = made(1000, 1000)
    units = score_units(columns)
    frame = distribution_frame(columns, units, scale=scale)
    bars = frame[(frame["model"] == "small")].reset_index()
    inside = placed([bars["high"][3] * 0.999, bars["low"][6] * 1.001], scale)
    low, high = chosen_scores(frame, inside[::-1], columns, units, scale=scale)
    assert (low, high) == pytest.approx((bars["low"][3] * units.small, bars["high"][6] * units.small))
    passing = ((columns.speculative >= low) & (columns.speculative <= high)).sum()
    assert abs(passing - bars["samples"][3:7].sum()) <= 1


def test_a_box_over_all_bars_chooses_all_samples_also_the_clipped():
    columns = made(small=[*np.linspace(0.5, 1.5, 1000), 900], target=np.full(1001, np.nan))
    units = score_units(columns)
    frame = distribution_frame(columns, units, on="all")
    assert chosen_scores(frame, (-9, 99), columns, units, scale="linear") == (0.5, 900)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_range_reaches_to_the_outliers_at_an_end(scale):
    values = np.array([0.0, 1, 2, 100, np.nan])
    edges = spaced(0.5, 2.5, scale, 4)
    inside = placed([1.0, 2.0], scale)
    assert chosen_range(inside, scale, 10, values, edges, whole=False) == pytest.approx((10, 20))
    ends = placed([0.5, 2.5], scale)
    assert chosen_range(ends, scale, 10, values, edges, whole=True) == (0, 100)


def test_what_the_axis_stands_for_is_said():
    columns = made()
    units = score_units(columns)
    two = scores.reading(distribution_frame(columns, units), columns, units)
    assert f"{units.small:.3g} on the small model" in two[-1]
    assert f"{units.target:.3g} on the target" in two[-1]
    one = scores.reading(distribution_frame(columns, units, on="all"), columns, units)
    assert "The target has scored 60 of 300 samples" in one[1]


@pytest.mark.parametrize(
    ("low", "high", "inside"),
    [
        (1e-3, 1e3, [1e-3, 1e-2, 1e-1, 1, 10, 100, 1000]),
        (0.3, 6, [0.5, 1, 2, 5]),
        (0.65, 1.6, [0.7, 1, 1.5]),
        (0.95, 1.25, [1, 1.1, 1.2]),
        (3, 3, [3]),
    ],
)
def test_a_logarithmic_axis_has_labels_also_within_a_decade(low, high, inside):
    np.testing.assert_allclose(log_ticks(low, high), inside)


def test_limits_leave_out_only_far_outliers():
    assert limits(np.array([1.0, 2, 3]), "linear") == (0, 3)
    assert limits(np.array([1.0, 2, 3]), "log") == (1, 3)
    low, high = limits(np.array([*np.linspace(1, 2, 1000), 1e6, 1e-6]), "log")
    assert (low, high) == pytest.approx((1 / 4, 2 * 4), rel=0.02)


def test_a_scale_shape_or_choice_of_samples_that_there_is_not_is_refused():
    columns = made()
    units = score_units(columns)
    with pytest.raises(ValueError, match="on is 'some'; allowed: verified, all"):
        distribution_frame(columns, units, on="some", scale="linear")
    with pytest.raises(KeyError, match="square"):
        distribution_frame(columns, units, on="verified", scale="square")
    frame = distribution_frame(columns, units, on="verified", scale="linear")
    with pytest.raises(KeyError, match="stacked"):
        distribution_figure(frame, shape="stacked")
