import numpy as np
import pytest

from staff_engine.charts.selection import cumulative_frame, strata_figure, strata_frame
from staff_engine.selection.coreset import select_coreset
from staff_engine.selection.verification import draw_verification


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).lognormal(0, 0.5, 5000)


def select(scores, per_stratum=5, **settings):
    drawn = draw_verification(scores, num_strata=settings["num_strata"], per_stratum=per_stratum)
    return select_coreset(scores, drawn, 2 * scores[drawn], pruning_rate=0.9, **settings)


def figure_of(selection, **how):
    return strata_figure(strata_frame(selection, **how), cumulative_frame(selection))


def test_a_row_for_each_stratum_that_has_samples(scores):
    selection = select(scores, num_strata=50)
    frame = strata_frame(selection, per_stratum=5)
    assert frame["first"].tolist() == np.flatnonzero(selection.sizes).tolist()
    assert frame["size"].sum() == selection.sizes.sum()
    assert frame["budget"].sum() == len(selection.indices)
    np.testing.assert_allclose(frame["kept"], frame["budget"] / frame["size"])


def test_a_stratum_with_fewer_verified_than_asked_for_is_thin_if_it_has_more(scores):
    selection = select(scores, num_strata=20)
    assert not strata_frame(selection, per_stratum=5)["thin"].any()
    frame = strata_frame(selection, per_stratum=6)
    np.testing.assert_array_equal(frame["thin"], frame["size"] > 5)


def test_what_the_filter_leaves_out_is_faded(scores):
    selection = select(scores, num_strata=10)
    frame = strata_frame(selection, per_stratum=5, mask=np.isin(selection.labels, [2, 3]))
    assert frame.loc[~frame["faded"], "first"].tolist() == [2, 3]


@pytest.mark.parametrize("num_strata", [10, 1000])
def test_an_outline_counts_the_samples_that_a_filter_leaves(scores, num_strata):
    selection = select(scores, num_strata=num_strata)
    mask = np.arange(len(scores)) % 3 == 0
    frame = strata_frame(selection, per_stratum=5, mask=mask)
    expected = [
        np.isin(selection.labels[mask], range(first, last + 1)).sum()
        for first, last in zip(frame["first"], frame["last"], strict=True)
    ]
    assert frame["passing"].tolist() == expected
    figure = strata_figure(frame, cumulative_frame(selection))
    [outline] = [trace for trace in figure.data if trace.name == "In the filter"]
    assert np.nan_to_num(outline.y).tolist() == expected


def test_without_a_filter_nothing_is_outlined(scores):
    selection = select(scores, num_strata=10)
    assert "In the filter" not in [trace.name for trace in figure_of(selection, per_stratum=5).data]


def test_many_strata_are_put_together_and_keep_their_sums(scores):
    selection = select(scores, num_strata=1000)
    frame = strata_frame(selection, per_stratum=5)
    assert len(frame) == 200
    assert frame["size"].sum() == selection.sizes.sum()
    assert frame["budget"].sum() == len(selection.indices)
    assert frame["verified"].sum() == selection.verified.sum()
    assert (frame["first"].iloc[1:].to_numpy() > frame["last"].iloc[:-1].to_numpy()).all()
    assert frame["ratio_low"].isna().all()
    assert "neighbours merged" in figure_of(selection, per_stratum=5).layout.xaxis.title.text


def test_the_figure_has_a_hollow_mark_for_each_thin_stratum(scores):
    selection = select(scores, num_strata=60)
    frame = strata_frame(selection, per_stratum=6)
    assert frame["thin"].any()
    assert not frame["thin"].all()
    points = [trace for trace in figure_of(selection, per_stratum=6).data if trace.type == "scatter"]
    marks = {trace.marker.symbol: len(trace.x) for trace in points if trace.mode == "markers"}
    assert marks == {"circle-open": int(frame["thin"].sum()), "circle": int((~frame["thin"]).sum())}


@pytest.mark.parametrize("num_strata", [8, 50, 1000])
def test_the_verified_samples_behind_each_ratio_have_a_bar(scores, num_strata):
    selection = select(scores, num_strata=num_strata)
    frame = strata_frame(selection, per_stratum=5)
    [bars] = [trace for trace in figure_of(selection, per_stratum=5).data if trace.name == "Verified"]
    assert list(bars.y) == frame["verified"].tolist()
    assert list(bars.x) == frame["first"].tolist()


def test_every_axis_has_a_title(scores):
    figure = figure_of(select(scores, num_strata=8), per_stratum=5)
    titles = [axis.title.text for axis in (*figure.select_xaxes(), *figure.select_yaxes())]
    assert titles == [
        "Strata, easiest to hardest", "Share of the data, easiest first",
        "Verification ratio", "Samples", "Rate kept", "Share of coreset", "Verified",
    ]  # fmt: skip


def test_running_shares_go_from_nothing_to_all(scores):
    selection = select(scores, num_strata=10)
    frame = cumulative_frame(selection)
    assert frame.iloc[0].tolist() == [-1, 0, 0]
    assert frame.iloc[-1].tolist() == [9, 1, 1]
    assert frame["coreset"].iloc[3] == selection.budget[:3].sum() / len(selection.indices)
