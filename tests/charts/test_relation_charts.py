"""The score against the other model's, and against length and loss."""

import numpy as np
import pytest

from staff_engine.charts import relations
from staff_engine.charts.relations import (
    band_figure,
    band_frame,
    chosen_pair,
    chosen_values,
    pair_figure,
    pair_frame,
    trend,
)
from staff_engine.charts.score_axis import score_units
from tests.helpers.made_columns import made, names


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
    assert names(figure) == ["Verified samples", "Equally hard for both"]
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
    assert [n for n in names(plain) if n] == ["Median and middle half"]
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
        (np.nan, "There are too few samples, or they are too similar, to see a trend."),
    ],
)
def test_a_trend_is_a_sentence(correlation, sentence):
    assert trend(correlation, "the loss rises") == sentence
