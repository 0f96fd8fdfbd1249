"""Every page for a run whose scores are from a file: what is there, and what is not."""

import pytest

from staff_engine.runs import control
from tests.helpers.brought_scores import ROWS, WITHOUT, make_scores_run, write_sources
from tests.helpers.seen import unescaped


@pytest.fixture
def brought(home, tmp_path):
    return make_scores_run(tmp_path)[0]


def said(app):
    parts = [*app.caption, *app.info, *app.warning, *app.text]
    return " ".join(each.value for each in parts)


@pytest.mark.parametrize("page", ["run", "scores", "select", "samples", "compare", "export"])
def test_every_page_shows_the_run_and_says_that_it_has_no_small_model(brought, open_page, page):
    app = open_page(page, run=brought.id)
    assert not app.exception
    assert not app.error
    assert "no small model" in said(app)


@pytest.mark.parametrize("view", ["selections", "methods", "evaluation"])
def test_every_comparison_shows_what_can_be_compared(brought, open_page, view):
    app = open_page("compare", run=brought.id, compare_view=view)
    assert not app.exception
    assert not app.error


def test_no_command_is_advised_that_needs_a_small_model(brought, open_page):
    app = open_page("compare", run=brought.id, compare_view="methods")
    assert "this run has no losses at checkpoints: S2L" in unescaped(said(app))
    assert "to measure them" not in said(app) and "to compute it" not in said(app)


def test_a_sample_is_shown_with_its_score_and_without_what_a_model_measures(brought, open_page):
    app = open_page("samples", run=brought.id, row=5)
    assert not app.exception and not app.error
    app = open_page("samples", run=brought.id, row=WITHOUT[0])
    assert not app.exception and not app.error
    assert "no value of own:perplexity" in said(app)


def test_the_coreset_can_be_exported(brought, open_page, tmp_path):
    app = open_page("export", run=brought.id)
    assert f"{(ROWS - len(WITHOUT)) // 2} of {ROWS}" in app.metric[0].value
    app.text_input(key="export_out_jsonl").set_value(str(tmp_path / "mine.jsonl"))
    next(each for each in app.button if each.label == "Write the files").click().run()
    assert not app.exception and not app.error
    assert len((tmp_path / "mine.jsonl").read_text().splitlines()) == (ROWS - len(WITHOUT)) // 2


def test_the_other_score_of_the_file_can_rank_the_samples(brought, open_page):
    app = open_page("select", run=brought.id, score="own:quality")
    assert not app.exception and not app.error
    assert app.session_state["score"] == "own:quality"


@pytest.fixture
def planned(open_page, tmp_path, monkeypatch):
    """The Run page with data chosen and a file of scores uploaded; runs start without a process of theirs."""
    from pages.parts.run import form

    data, scores = write_sources(tmp_path)
    monkeypatch.setattr(form, "start", lambda run, **_: None)
    app = open_page("run")
    app.session_state.new_plan = {"dataset": str(data)}
    app.run()
    app.segmented_control(key="plan_scores_from").set_value("A file of scores").run()
    app.file_uploader[0].upload("scores.csv", scores.read_bytes(), "text/csv").run()
    return app


def test_a_run_from_a_file_of_scores_can_be_planned_in_the_app(planned):
    assert "its columns are id, perplexity, quality" in planned.error[0].value
    planned.text_input(key="plan_score_key").set_value("id").run()
    assert not planned.error and not planned.exception
    assert planned.selectbox(key="plan_score").options == ["own:perplexity", "own:quality"]
    planned.selectbox(key="plan_score").set_value("own:quality").run()
    assert "plan_small" not in {each.key for each in planned.text_input}
    planned.toggle(key="plan_verified").set_value(False).run()
    [command] = [each.value for each in planned.code if "staff_engine run" in each.value]
    assert "--score own:quality" in command and "--score-key id" in command
    planned.button(key="plan_start").click().run()
    assert not planned.exception
    [run] = control.list_runs()
    plan = control.read_record(run).plan
    assert (plan.score, plan.score_key, plan.models, plan.ratio) == ("own:quality", "id", (), "equal")
    assert plan.scores.endswith("-scores.csv")


def test_a_target_can_verify_the_scores_of_a_file(planned):
    planned.text_input(key="plan_score_key").set_value("id").run()
    planned.toggle(key="plan_verified").set_value(True).run()
    planned.text_input(key="plan_target").set_value("builtin:gemma-mini").run()
    planned.button(key="plan_start").click().run()
    assert not planned.exception
    [run] = control.list_runs()
    plan = control.read_record(run).plan
    assert (plan.models, plan.ratio, plan.verify_per_stratum) == (("builtin:gemma-mini",), "paper", 10)


def test_back_to_a_small_model_the_form_is_as_before(planned):
    planned.text_input(key="plan_score_key").set_value("id").run()
    planned.segmented_control(key="plan_scores_from").set_value("A small model").run()
    assert not planned.error and not planned.exception
    assert planned.text_input(key="plan_small").value == "builtin:llama-nano"
    planned.button(key="plan_start").click().run()
    [run] = control.list_runs()
    plan = control.read_record(run).plan
    assert (plan.scores, plan.score, plan.small) == (None, "effort", "builtin:llama-nano")


def test_plan_again_brings_the_file_of_scores_back(brought, open_page):
    app = open_page("run", run=brought.id)
    app.button(key="run_again").click().run()
    assert not app.exception and not app.error
    assert app.selectbox(key="plan_score").value == "own:perplexity"
    assert app.text_input(key="plan_score_key").value == "id"
    assert not app.toggle(key="plan_verified").value
