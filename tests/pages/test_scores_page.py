"""The Scores page, in every state of a run and under what a link says."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.damage import without
from tests.helpers.made_run import make_finished_run


def captions(app):
    return " ".join(caption.value for caption in app.caption)


def charts(app):
    return app.get("plotly_chart")


def test_a_finished_run_shows_four_charts_and_the_correlation(finished_run, open_page):
    app = open_page("scores", run=finished_run.id)
    assert not app.exception
    assert app.title[0].value == "Scores"
    assert len(charts(app)) == 4
    (correlation,) = app.metric
    assert correlation.label == "Rank correlation"
    assert 0.5 < float(correlation.value) <= 1
    assert "95 % interval" in captions(app)
    assert "With response length held: **" in captions(app)
    assert "1 is a model's median over the" in captions(app)
    assert "as the response gets longer" in captions(app)


def test_the_page_says_whether_the_target_was_tuned(finished_run, open_page):
    assert "The target is untouched" in captions(open_page("scores", run=finished_run.id))
    rows = pa.table({"row_id": pa.array([3, 5, 8])})
    pq.write_table(rows, finished_run.folder / "target_tuning.parquet")
    os.utime(finished_run.folder / "summary.json")  # as `tune target` is followed by it
    app = open_page("scores", run=finished_run.id)
    assert not app.exception
    assert "The target was tuned on 3 other samples before it scored these." in captions(app)


def test_every_chart_has_words_for_those_who_do_not_see_it(finished_run, open_page):
    for chart in charts(open_page("scores", run=finished_run.id)):
        assert len(chart.proto.alt) > 40


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled", "interrupted", "damaged"])
def test_a_run_without_scores_says_its_state(run_in_state, open_page, state):
    app = open_page("scores", run=run_in_state(state).id)
    assert not app.exception
    said = [*app.info, *app.error]
    assert any(state in each.value for each in said)
    assert not charts(app)


def test_without_a_run_the_page_says_where_to_go(home, open_page):
    app = open_page("scores")
    assert not app.exception
    assert "no runs yet" in app.info[0].value


def test_the_choices_come_from_the_link_and_go_into_it(finished_run, open_page):
    app = open_page("scores", run=finished_run.id, scores_on="all", scores_scale="log")
    assert app.session_state["scores_on"] == "all"
    assert "The target has scored" in captions(app)
    assert app.button_group(key="scores_scale").value == "log"
    app.button_group(key="scores_shape").set_value("cumulative").run()
    assert not app.exception
    assert app.query_params["scores_shape"] == "cumulative"
    assert app.query_params["scores_on"] == "all"


def test_a_choice_that_does_not_exist_is_refused_politely(finished_run, open_page):
    app = open_page("scores", run=finished_run.id, scores_scale="cubic")
    assert not app.exception
    assert any("cubic" in warning.value for warning in app.warning)
    assert app.session_state["scores_scale"] == "linear"


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("shape", ["density", "cumulative"])
@pytest.mark.parametrize("on", ["verified", "all"])
def test_a_filter_is_obeyed_in_every_view(finished_run, open_page, on, shape, scale):
    app = open_page(
        "scores",
        run=finished_run.id,
        score_in="0.5..2",
        scores_on=on,
        scores_shape=shape,
        scores_scale=scale,
    )
    assert not app.exception
    assert [metric.label for metric in app.metric] == ["Rank correlation", "In the filter"]
    assert "all samples" in charts(app)[0].proto.spec


def test_a_filter_that_nothing_passes_is_no_error(finished_run, open_page):
    app = open_page("scores", run=finished_run.id, score_in="1e6..2e6")
    assert not app.exception
    assert app.metric[1].value == "–"
    assert len(charts(app)) == 4


def test_before_anything_is_verified_the_small_model_is_shown(finished_run, open_page):
    without(finished_run.folder, "verification")
    app = open_page("scores", run=finished_run.id)
    assert not app.exception
    assert any("not scored any sample yet" in info.value for info in app.info)
    assert len(charts(app)) == 2
    app = open_page("scores", run=finished_run.id, scores_on="all")
    assert not app.exception
    assert len(charts(app)) == 3


def test_where_the_target_scored_all_both_models_are_shown_on_all(home, tmp_path, open_page):
    run = make_finished_run(tmp_path, verify_per_stratum=400, drop_hardest=0)
    app = open_page("scores", run=run.id, scores_on="all")
    assert not app.exception
    assert '"name":"Target"' in charts(app)[0].proto.spec.replace(" ", "")


def test_many_verified_samples_are_drawn_as_a_heat_map(home, tmp_path, open_page):
    run = make_finished_run(tmp_path, 2600, verify_per_stratum=3000, drop_hardest=0)
    app = open_page("scores", run=run.id)
    assert not app.exception
    assert "heatmap" in charts(app)[1].proto.spec
