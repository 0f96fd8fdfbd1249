import json

import numpy as np
import pytest

from staff_engine.charts.progress import MOST_STEPS, loss_figure, loss_frame, scored_figure, scored_frame
from staff_engine.charts.style import clipped
from staff_engine.errors import RunError
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return make_finished_run(tmp_path).folder


def test_before_anything_is_written_the_frames_are_empty(tmp_path):
    assert loss_frame(tmp_path).empty
    assert scored_frame(tmp_path).empty
    assert len(loss_figure(loss_frame(tmp_path)).data) == 2


def test_the_loss_comes_step_by_step_and_as_a_running_mean(folder):
    frame = loss_frame(folder)
    assert frame["step"].tolist() == list(range(1, 21))
    assert frame["loss"].tolist() == [4 / step for step in range(1, 21)]
    assert frame["smooth"].is_monotonic_decreasing
    assert frame["smooth"].iloc[0] == 4


def test_a_tuned_target_has_losses_of_its_own(folder):
    assert loss_frame(folder, "target").empty
    (folder / "target_tuning.json").write_text(json.dumps([{"step": 1, "loss": 2.5}]))
    frame = loss_frame(folder, "target")
    assert frame["loss"].tolist() == [2.5]
    colors = {model: loss_figure(frame, model).data[0].line.color for model in ("small", "target")}
    assert colors["small"] != colors["target"]


def test_a_long_fine_tuning_is_thinned_out_with_both_its_ends(tmp_path):
    history = [{"step": step, "loss": 1.0} for step in range(1, 4001)] + [{"train_runtime": 3.0}]
    (tmp_path / "fine_tuning.json").write_text(json.dumps(history))
    frame = loss_frame(tmp_path)
    assert len(frame) == MOST_STEPS
    assert frame["step"].iloc[[0, -1]].tolist() == [1, 4000]


def test_a_damaged_history_is_named(tmp_path):
    (tmp_path / "fine_tuning.json").write_text("[{")
    with pytest.raises(RunError, match=r"fine_tuning\.json is damaged"):
        loss_frame(tmp_path)


def test_every_score_is_in_a_bar_also_the_outliers(folder):
    frame = scored_frame(folder)
    assert frame["samples"].sum() == 393
    assert frame["beyond"].iloc[-1] == frame["beyond"].sum() == 2  # 0.5 % of 393
    assert clipped(frame).startswith("The last bar includes 2 samples above")
    np.testing.assert_allclose(frame["low"].iloc[1:], frame["high"].iloc[:-1])
    assert scored_figure(frame).layout.xaxis.title.text == "Score (gradient norm)"
