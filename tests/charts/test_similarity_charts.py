import json

import numpy as np
import pandas as pd
import pytest

from staff_engine.charts import similarity as charts
from staff_engine.pipelines.similarity import wording as words
from tests.helpers.made_similarity import make_report, older


@pytest.fixture(scope="module")
def made():
    """Two small models, one near to the target and one far from it, and the target in both states."""
    return make_report()


def test_every_two_readings_have_a_cell_with_their_rank_correlation(made):
    report, _ = made
    frame = charts.rank_frame(report, "effort, all", held=False)
    assert len(frame) == 6 * 5 / 2
    first = next(each for each in report.ranks if each.score == "effort, all")
    assert frame.iloc[0].tolist() == [
        "near, untouched", "near, fine-tuned", *map(float, vars(first.correlation).values())
    ]  # fmt: skip


def test_with_length_held_every_cell_has_the_correlation_that_is_left(made):
    report, _ = made
    plain, held = (charts.rank_frame(report, "effort, all", held=held) for held in (False, True))
    assert held[["first", "second"]].equals(plain[["first", "second"]])
    first = next(each for each in report.ranks if each.score == "effort, all")
    assert held.iloc[0].tolist()[2:] == list(vars(first.held).values())
    assert (held["value"] < plain["value"]).any()
    charts.rank_figure(held).to_json()


def test_a_report_of_an_older_version_has_no_cells_and_dots_with_length_held(made):
    report = older(made[0])
    assert charts.rank_frame(report, "loss", held=True).empty
    assert "held" not in set(charts.likeness_frame(report, "loss", tuned=False)["panel"])


def test_a_page_shows_one_of_the_two_panels_of_the_order():
    for held, shown in ((False, "spearman"), (True, "held")):
        panels = charts.likeness_panels(held=held)
        assert len(panels) == 6 and next(iter(panels)) == shown


def test_the_heat_map_is_a_triangle_on_a_fixed_scale_with_value_and_interval_in_each_cell(made):
    report, _ = made
    frame = charts.rank_frame(report, "loss", held=False)
    figure = charts.rank_figure(frame)
    heat, written = figure.data
    values = np.array(heat.z, dtype=float)
    assert (heat.zmin, heat.zmax) == (0, 1)
    assert np.isfinite(values).sum() == len(frame) == len(written.text)
    assert np.isnan(values[np.triu_indices(5, 1)]).all()
    cell = frame[(frame["first"] == "near, fine-tuned") & (frame["second"] == "far, untouched")].iloc[0]
    value, low, high = (words.number(cell[name]) for name in ("value", "low", "high"))
    assert written.text[2] == f"<b>{value}</b><br>{low} to<br>{high}"


def test_what_is_written_on_a_dark_cell_is_white_and_on_a_bright_one_black():
    frame = pd.DataFrame(
        {"first": ["a, untouched"] * 2, "second": ["b, untouched", "c, untouched"], "value": [-0.3, 0.9],
         "low": 0.0, "high": 1.0}
    )  # fmt: skip
    figure = charts.rank_figure(frame)
    assert list(figure.data[1].textfont.color) == ["#FFFFFF", "#10151C"]
    assert figure.data[1].text[0].startswith("<b>−0.30</b>")


def test_two_readings_that_cannot_be_compared_have_an_empty_cell():
    frame = pd.DataFrame(
        {
            "first": ["a, untouched"],
            "second": ["b, untouched"],
            "value": [np.nan],
            "low": np.nan,
            "high": np.nan,
        }
    )
    figure = charts.rank_figure(frame)
    assert len(figure.data[1].x) == 0
    assert "NaN" not in figure.to_json()


def test_with_many_models_the_interval_is_left_to_the_pointer():
    report, _ = make_report(smalls=[f"small-{i}" for i in range(5)])
    figure = charts.rank_figure(charts.rank_frame(report, "loss", held=False))
    assert all(" to" not in text for text in figure.data[1].text)
    said = [text for row in figure.data[0].customdata for text in row if text]
    assert all(" to " in text for text in said)


def test_every_curve_is_a_density_around_the_readings_own_median(made):
    report, scores = made
    frame = charts.curve_frame(report, scores, "effort, all", tuned=False)
    assert list(dict.fromkeys(frame["name"])) == [
        "near, untouched", "near, fine-tuned", "far, untouched", "far, fine-tuned", "target, untouched",
    ]  # fmt: skip
    for _, curve in frame.groupby("name"):
        assert np.trapezoid(curve["density"], np.log10(curve["score"])) == pytest.approx(1, abs=0.05)
        assert curve["score"].iloc[curve["density"].argmax()] == pytest.approx(1, rel=0.5)
        assert curve["samples"].iloc[0] == 80


def test_the_states_of_the_target_choose_the_curves(made):
    report, scores = made
    frame = charts.curve_frame(report, scores, "loss", tuned=True)
    assert list(dict.fromkeys(frame["name"])) == ["near, fine-tuned", "far, fine-tuned", "target, fine-tuned"]


def test_scores_of_zero_and_far_outliers_are_counted_and_said(made):
    report, scores = made
    scores = scores.copy()
    first = scores.index[scores["reading"] == 0]
    scores.loc[first[:2], "loss"] = 0.0
    scores.loc[first[2], "loss"] = 1e9
    frame = charts.curve_frame(report, scores, "loss", tuned=False)
    assert frame.groupby("name", sort=False)["outside"].first().tolist() == [3, 0, 0, 0, 0]
    assert charts.outside_in_words(frame) == ("Scores outside the axis: 3 of near, untouched.")
    curve = frame[frame["name"] == "near, untouched"]
    assert np.trapezoid(curve["density"], np.log10(curve["score"])) == pytest.approx(77 / 80, abs=0.05)


def test_without_outliers_nothing_is_said(made):
    report, scores = made
    assert charts.outside_in_words(charts.curve_frame(report, scores, "effort, all", tuned=False)) == ""


def test_readings_without_a_score_are_left_out_of_the_curves(made):
    report, scores = made
    scores = scores.copy()
    scores.loc[scores["reading"] == 1, "loss"] = np.nan
    scores.loc[scores["reading"] == 0, "loss"] = 0.0
    frame = charts.curve_frame(report, scores, "loss", tuned=False)
    assert "near, untouched" not in set(frame["name"])
    scores["loss"] = np.nan
    nothing = charts.curve_frame(report, scores, "loss", tuned=False)
    assert nothing.empty
    charts.curve_figure(nothing).to_json()


def test_equal_scores_still_have_a_curve(made):
    report, scores = made
    frame = charts.curve_frame(report, scores.assign(loss=2.0), "loss", tuned=False)
    assert np.isfinite(frame["density"]).all()
    charts.curve_figure(frame).to_json()


def test_curves_tell_models_by_colour_states_by_dash_and_the_target_by_width(made):
    report, scores = made
    figure = charts.curve_figure(charts.curve_frame(report, scores, "loss", tuned=False))
    look = {trace.name: (trace.line.color, trace.line.dash, trace.line.width) for trace in figure.data}
    assert look["near, untouched"] == ("#2F8FD8", "dot", 2)
    assert look["near, fine-tuned"] == ("#2F8FD8", "solid", 2)
    assert look["far, fine-tuned"][0] != "#2F8FD8"
    assert look["target, untouched"] == ("#E0752D", "dot", 3)
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text


def test_every_figure_of_likeness_has_a_panel_with_every_pair(made):
    report, _ = made
    frame = charts.likeness_frame(report, "effort, last_block", tuned=False)
    assert list(dict.fromkeys(frame["panel"])) == list(charts.LIKENESS)
    pair = words.pairs_of(report, "effort, last_block", tuned=False)[1]
    row = frame[(frame["panel"] == "hardest") & (frame["name"] == "near, fine-tuned")].iloc[0]
    found = pair.likeness.hardest
    assert row[["value", "low", "high"]].tolist() == [found.value, found.low, found.high]


def test_with_two_targets_a_name_says_for_which():
    report, _ = make_report(targets=["one", "two"])
    frame = charts.likeness_frame(report, "loss", tuned=True)
    assert set(frame["name"]) == {
        f"{small}, fine-tuned for {target}" for small in ("near", "far") for target in ("one", "two")
    }


def test_of_one_target_a_chart_has_only_its_pairs_and_needs_no_name_for_it():
    report, scores = make_report(targets=["one", "two"])
    mine = words.for_target(report, "two")
    frame = charts.likeness_frame(mine, "loss", tuned=True)
    assert set(frame["name"]) == {"near, fine-tuned", "far, fine-tuned"}
    curves = charts.curve_frame(mine, scores, "loss", tuned=True)
    assert set(curves["name"]) == {"near, fine-tuned", "far, fine-tuned", "two, fine-tuned"}


@pytest.mark.parametrize("key", charts.LIKENESS)
def test_a_panel_shows_dots_intervals_and_chance_where_there_is_one(made, key):
    report, _ = made
    frame = charts.likeness_frame(report, "effort, all", tuned=False)
    mine, panel = frame[frame["panel"] == key], charts.LIKENESS[key]
    figure = charts.dot_figure(mine, panel)
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [dot.x[0] for dot in dots] == mine["value"].tolist()
    assert [list(line.x) for line in lines] == mine[["low", "high"]].to_numpy().tolist()
    assert [dot.marker.symbol for dot in dots] == ["circle-open", "circle"] * 2
    assert [line.x0 for line in figure.layout.shapes] == ([] if panel.chance is None else [panel.chance])
    low, high = figure.layout.xaxis.range
    assert low <= mine["low"].min() and mine["high"].max() <= high
    assert figure.layout.xaxis.title.text.replace("<br>", " ") == panel.unit
    assert len(charts.dots_in_words(mine).split("; ")) == 4


def test_a_figure_that_could_not_be_reckoned_leaves_its_place_empty(made):
    report, _ = made
    frame = charts.likeness_frame(report, "effort, all", tuned=False)
    mine = frame[frame["panel"] == "ks"].assign(value=np.nan, low=np.nan, high=np.nan)
    figure = charts.dot_figure(mine, charts.LIKENESS["ks"])
    assert not figure.data
    assert "NaN" not in json.dumps(json.loads(figure.to_json())["layout"]["xaxis"])


def test_lengths_have_a_panel_for_every_score_and_a_row_for_every_reading(made):
    report, _ = made
    frame = charts.length_frame(report)
    assert frame.groupby("panel", sort=False).size().to_dict() == dict.fromkeys(charts.LENGTHS, 6)
    figure = charts.dot_figure(frame[frame["panel"] == "loss"], charts.LENGTHS["loss"])
    assert figure.layout.annotations[0].text == "no trend"
    assert list(figure.layout.yaxis.ticktext)[:2] == ["near<br>untouched", "near<br>fine-tuned"]


def test_names_of_people_are_shown_letter_by_letter():
    report, scores = make_report(smalls=["/models/<b>bold", "far"])
    for figure in (
        charts.rank_figure(charts.rank_frame(report, "loss", held=False)),
        charts.curve_figure(charts.curve_frame(report, scores, "loss", tuned=False)),
        charts.dot_figure(charts.length_frame(report).head(6), charts.LENGTHS["loss"]),
    ):
        assert "<b>bold" not in json.loads(json.dumps(figure.to_json())).replace("\\u003c", "<")
