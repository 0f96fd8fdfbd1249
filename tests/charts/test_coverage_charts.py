import numpy as np
import pytest

from staff_engine.charts.coverage import (
    overlap_figure,
    overlap_frame,
    overlap_in_words,
    reach_figure,
    reach_frame,
    reach_in_words,
    spread_figure,
    spread_frame,
    spread_in_words,
)
from staff_engine.selection.coverage import measure_coverage

COUNTS = {"strata": 2, "clusters": 5}


@pytest.fixture
def coverage():
    """STAFF has rows 0 to 3, D2 2 to 5, GraNd 8 and 9."""
    return measure_coverage(
        {"staff": np.arange(4), "d2": np.arange(2, 6), "grand": np.array([8, 9])},
        strata=np.array([0, 0, 0, 1, 1, 1, 1, 1, -1, -1]),
        clusters=np.repeat(np.arange(5), 2),
        lengths=np.arange(10) * 10,
        losses=np.linspace(0, 1, 10),
    )


def test_overlap_has_a_row_and_a_column_for_each_method(coverage):
    frame = overlap_frame(coverage)
    assert list(frame.index) == list(frame.columns) == ["STAFF", "D2", "GraNd"]
    np.testing.assert_allclose(frame, [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]])
    assert overlap_in_words(frame) == "STAFF and D2 0.33; STAFF and GraNd 0.00; D2 and GraNd 0.00"


def test_the_map_leaves_a_method_and_itself_blank_and_has_one_scale(coverage):
    heat, text = overlap_figure(overlap_frame(coverage)).data
    assert np.isnan(np.diag(heat.z)).all()
    assert (heat.zmin, heat.zmax) == (0, 1)
    assert sorted(text.text) == ["0.00"] * 4 + ["0.33"] * 2


def test_reach_has_the_shares_and_the_bars_say_of_how_many(coverage):
    frame = reach_frame(coverage)
    assert frame["strata"].tolist() == [1, 1, 0]
    np.testing.assert_allclose(frame["clusters"], [2 / 5, 2 / 5, 1 / 5])
    strata, clusters = reach_figure(frame, COUNTS).data
    assert (strata.name, clusters.name) == ("2 strata", "5 clusters")
    assert list(clusters.customdata) == [2, 2, 1]
    assert reach_in_words(frame, "clusters") == "STAFF 40%; D2 40%; GraNd 20%"


def test_without_clusters_only_strata_are_drawn(coverage):
    [bars] = reach_figure(reach_frame(coverage), {**COUNTS, "clusters": 0}).data
    assert bars.name == "2 strata"


def test_spreads_begin_with_all_samples_and_staff_stands_out(coverage):
    frame = spread_frame(coverage, coverage.lengths)
    assert frame["label"].tolist() == ["All samples", "STAFF", "D2", "GraNd"]
    assert frame["middle"].tolist() == [45, 15, 35, 85]
    assert spread_in_words(frame) == "All samples 45; STAFF 15; D2 35; GraNd 85"
    *lines, dots = spread_figure(frame, x="Length").data
    assert len(lines) == 8
    everything, staff, d2, grand = dots.marker.line.color
    assert d2 == grand
    assert len({everything, staff, d2}) == 3


def test_an_empty_coreset_and_equal_values_can_be_drawn():
    coverage = measure_coverage(
        {"staff": np.array([0, 1]), "grand": np.zeros(0, int)},
        strata=np.zeros(2, int), clusters=None, lengths=np.ones(2), losses=np.ones(2),
    )  # fmt: skip
    figure = spread_figure(spread_frame(coverage, coverage.lengths), x="Length")
    low, high = figure.layout.xaxis.range
    assert low < 1 < high
    assert overlap_frame(coverage).loc["STAFF", "GraNd"] == 0
