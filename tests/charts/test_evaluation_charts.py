"""An evaluation's dots and table, by their frames."""

import numpy as np
import pytest

from staff_engine.charts.evaluation import dots_figure, dots_frame, dots_in_words, places, table_frame
from tests.helpers.made_cells import LOSSES, evaluation, make


@pytest.fixture
def report(tmp_path):
    plan = evaluation(pruning_rates=(0.9, 0.5), baseline_scores="target")
    return make(tmp_path, plan).report


def test_the_places_are_the_rates_and_budgets_that_there_are(report):
    assert places(report) == [(0.5, "epochs"), (0.9, "epochs")]


def test_the_dots_of_a_rate_are_its_coresets_with_full_and_nothing(report):
    frame = dots_frame(report, "loss", 0.9, "epochs").set_index("label")
    assert list(frame.index) == [
        "nothing (target untouched)", "full data", "STAFF", "Random", "GraNd (target's scores)",
    ]  # fmt: skip
    staff = frame.loc["STAFF"]
    assert staff["value"] == pytest.approx(np.mean(LOSSES["staff"]))
    assert staff["low"] < staff["value"] < staff["high"]
    assert np.isnan(frame.loc["nothing (target untouched)", "low"])
    assert (frame["seeds"] == [1, 3, 3, 3, 3]).all()
    assert "STAFF 2.13" in dots_in_words(frame.reset_index())


def test_a_figure_has_a_line_for_each_interval_and_one_across_for_full_and_nothing(report):
    frame = dots_frame(report, "loss", 0.9, "epochs")
    figure = dots_figure(frame, x="Loss")
    *lines, dots = figure.data
    assert [line.y[0] for line in lines] == list(dots.y) == ["STAFF", "Random", "GraNd (target's scores)"]
    assert [tuple(line.x) for line in lines] == list(
        frame[["low", "high"]].iloc[2:].itertuples(index=False, name=None)
    )
    assert sorted(shape.x0 for shape in figure.layout.shapes) == sorted(frame["value"].iloc[:2])
    assert {note.text for note in figure.layout.annotations} == {"full data", "untouched"}


def test_staffs_coresets_of_further_runs_have_staffs_colour(tmp_path):
    plan = evaluation(also={"tuned": "runs/b"})
    frame = dots_frame(make(tmp_path, plan).report, "loss", 0.9, "epochs")
    *_, dots = dots_figure(frame, x="Loss").data
    staff, random, grand, tuned = dots.marker.color
    assert staff == tuned != random == grand


def test_without_answers_there_is_no_metric_to_show(tmp_path):
    report = make(tmp_path, answers=0).report
    assert dots_frame(report, "metric", 0.9, "epochs").empty
    assert not [name for name in table_frame(report) if "ROUGE" in name]


def test_the_table_has_a_row_for_each_arm_rate_and_budget(report):
    frame = table_frame(report)
    assert len(frame) == 2 + 3 * 2
    assert list(frame)[:4] == ["Removed", "Trained on", "Loss", "Loss − random"]
    assert frame["ROUGE-L − random"].notna().sum() == 2 * 2
    assert frame.loc[frame["Trained on"] == "STAFF", "Selection"].tolist() == pytest.approx([4.55, 4.55])


def test_the_budget_is_a_column_where_there_are_two(tmp_path):
    frame = table_frame(make(tmp_path, evaluation(budget="both")).report)
    assert frame.loc[frame["Trained on"] == "STAFF", "Budget"].tolist() == ["epochs", "steps"]
