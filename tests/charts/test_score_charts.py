"""Frames and figures of the Scores page."""

import json

import numpy as np
import pandas as pd
import pytest

from staff_engine.charts import relations, scores
from staff_engine.charts.relations import (
    band_figure,
    band_frame,
    chosen_pair,
    chosen_values,
    pair_figure,
    pair_frame,
    trend,
)
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
from staff_engine.samples import SampleColumns


def made(rows=300, verified=60, *, small=None, target=None, seed=0):
    """Columns with lognormal scores; the first `verified` rows have one on the target too."""
    rng = np.random.default_rng(seed)
    small = rng.lognormal(size=rows) if small is None else np.asarray(small, dtype=float)
    rows = len(small)
    if target is None:
        target = np.where(np.arange(rows) < verified, 3 * small * rng.lognormal(0, 0.3, rows), np.nan)
    return SampleColumns(
        speculative=small,
        loss=np.log1p(small),
        verification=np.asarray(target, dtype=float),
        strata=np.zeros(rows, dtype=np.int32),
        kept=np.zeros(rows, dtype=bool),
        unscorable={},
        prompt_tokens=np.ones(rows, dtype=np.int64),
        response_tokens=rng.integers(1, 50, rows),
    )


def names(figure):
    return [trace.name for trace in figure.data]


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
    assert (said.text, said.xanchor, said.x) == ("hardest, left out", "right", frame["high"].max())


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


def test_few_verified_samples_are_points():
    columns = made()
    units = score_units(columns)
    frame = pair_frame(columns, units)
    assert len(frame) == 60
    near = frame[~frame["outside"]]
    assert near["small"].to_numpy() == pytest.approx(columns.speculative[near["row_id"]] / units.small)
    assert near["target"].to_numpy() == pytest.approx(columns.verification[near["row_id"]] / units.target)
    assert frame["chosen"].all()
    figure = pair_figure(frame)
    assert names(figure) == ["Verified samples", "As hard for both"]
    assert len(figure.data[0].x) == 60


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_many_verified_samples_are_counted_in_cells(scale):
    columns = made(5000, 5000)
    units = score_units(columns)
    mask = columns.response_tokens > 20
    frame = pair_frame(columns, units, scale=scale, mask=mask)
    assert len(frame) == relations.CELLS**2
    assert frame["samples"].sum() == 5000
    assert frame["chosen"].sum() == mask.sum()
    some = frame[frame["samples"] > 0].iloc[7]
    inside = (
        (columns.speculative / units.small >= some["small_low"])
        & (columns.speculative / units.small < some["small_high"])
        & (columns.verification / units.target >= some["target_low"])
        & (columns.verification / units.target < some["target_high"])
    )
    assert inside.sum() == some["samples"]
    figure = pair_figure(frame, scale=scale)
    marks = sum(len(trace.x) for trace in figure.data if trace.type == "scatter")
    assert marks <= relations.CELLS**2 + 2
    heat = next(trace for trace in figure.data if trace.type == "heatmap")
    assert np.nansum(10 ** np.array(heat.z)) == pytest.approx(5000)


def test_the_heat_maps_cells_lie_where_their_samples_do():
    small = np.repeat([1.0, 10.0], 2000)
    columns = made(small=small, target=np.repeat([1.0, 1.0], 2000) * np.r_[np.ones(3999), 10])
    figure = pair_figure(pair_frame(columns, score_units(columns)))
    heat = next(trace for trace in figure.data if trace.type == "heatmap")
    counts = np.nan_to_num(10 ** np.array(heat.z))
    assert counts.shape == (relations.CELLS, relations.CELLS)
    assert counts[:, -1].sum() == pytest.approx(2000)  # across: the small model


def test_zeros_have_no_place_on_a_logarithmic_pair():
    columns = made(small=[0.0, 1, 2, 3], target=[1.0, 0, 2, 3])
    assert list(pair_frame(columns, score_units(columns), scale="log")["row_id"]) == [2, 3]


def test_samples_outside_the_picture_are_counted():
    columns = made(small=[*np.linspace(1, 2, 999), 99], target=[*np.linspace(1, 2, 999), 99])
    frame = pair_frame(columns, score_units(columns))
    count = int(frame["outside"].sum())
    assert count >= 1
    assert relations.reading(frame)[1].startswith(f"{count:,} sample")
    assert (
        len(relations.reading(pair_frame(made(50, 50, small=np.linspace(1, 2, 50)), score_units(made()))))
        <= 2
    )


@pytest.mark.parametrize("verified", [60, 3000])
def test_a_box_on_the_pairs_chooses_both_models_scores(verified):
    columns = made(3000, verified)
    units = score_units(columns)
    frame = pair_frame(columns, units)
    chosen = chosen_pair(frame, {"x": [0.5, 1.5], "y": [2.0, 1.0]}, columns, units, scale="linear")
    low, high = chosen["score"]
    assert low <= 0.5 * units.small and high >= 1.5 * units.small
    assert chosen["verification"][0] <= units.target and chosen["verification"][1] >= 2 * units.target
    if verified == 60:
        assert (low, high) == pytest.approx((0.5 * units.small, 1.5 * units.small))


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_range_reaches_to_the_outliers_at_an_end(scale):
    values = np.array([0.0, 1, 2, 100, np.nan])
    edges = spaced(0.5, 2.5, scale, 4)
    inside = placed([1.0, 2.0], scale)
    assert chosen_range(inside, scale, 10, values, edges, whole=False) == pytest.approx((10, 20))
    ends = placed([0.5, 2.5], scale)
    assert chosen_range(ends, scale, 10, values, edges, whole=True) == (0, 100)


def test_bands_hold_the_middle_half_in_groups_of_like_size():
    columns = made(2400)
    values = np.arange(2400.0)
    frame = band_frame(values, columns.speculative, 2.0)
    assert frame["samples"].sum() == 2400
    assert set(frame["samples"]) == {100}
    first = columns.speculative[:100] / 2
    assert frame.loc[0, ["lower", "middle", "upper"]].tolist() == pytest.approx(
        np.quantile(first, [0.25, 0.5, 0.75]).tolist()
    )
    assert frame.loc[0, ["low", "value", "high"]].tolist() == [0, 49.5, 99]


def test_equal_values_are_in_one_group_and_rows_without_a_score_in_none():
    values = np.repeat([3.0, 5.0], 500)
    scores_ = np.ones(1000)
    scores_[:10] = np.nan
    frame = band_frame(values, scores_, 1.0)
    assert frame["samples"].tolist() == [490, 500]
    assert frame["value"].tolist() == [3, 5]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_band_figure_names_its_axes_and_what_is_filtered(scale):
    columns = made()
    plain = band_figure(band_frame(columns.loss, columns.speculative, 1.0), x="Loss (nats)", scale=scale)
    assert plain.layout.xaxis.title.text == "Loss (nats)"
    assert [n for n in names(plain) if n] == ["Median, and the middle half"]
    mask = columns.response_tokens > 20
    both = band_figure(band_frame(columns.loss, columns.speculative, 1.0, mask=mask), x="Loss", scale=scale)
    assert [n for n in names(both) if n] == ["All samples", "In the filter"]


def test_chosen_values_are_in_order_and_whole_where_they_count():
    assert chosen_values([9.7, 2.2]) == (2.2, 9.7)
    assert chosen_values([2.2, 9.7], whole=True) == (3, 9)
    assert chosen_values([2.2, 2.4], whole=True) == (3, 3)


@pytest.mark.parametrize(
    ("correlation", "sentence"),
    [
        (-0.76, "The score falls as the loss rises (rank correlation −0.76)."),
        (0.5, "The score mostly rises as the loss rises (rank correlation 0.50)."),
        (0.3, "The score tends to rise as the loss rises (rank correlation 0.30)."),
        (-0.001, "The score hardly changes as the loss rises (rank correlation 0.00)."),
        (np.nan, "There are too few samples, or they are too alike, to see a trend."),
    ],
)
def test_a_trend_is_a_sentence(correlation, sentence):
    assert trend(correlation, "the loss rises") == sentence


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
