"""Evaluations on the Compare page: what they found, how far they are, how one is started."""

import shlex
from functools import partial

import pytest

from staff_engine.program import COMMAND
from staff_engine.runs import control
from tests.helpers.made_evaluation import make_evaluation, write_held_out
from tests.helpers.made_run import make_finished_run


def texts(app):
    kinds = ("markdown", "caption", "info", "error", "warning")
    return " ".join(element.value for kind in kinds for element in app.get(kind))


@pytest.fixture
def held_out(tmp_path):
    return write_held_out(tmp_path / "held_out.jsonl")


@pytest.fixture
def evaluate(finished_run, held_out):
    """Make an evaluation of the finished run's coresets, with cells as far as asked for."""
    return partial(make_evaluation, finished_run, held_out)


@pytest.fixture
def no_process(monkeypatch):
    started = []
    monkeypatch.setattr(control, "start", started.append)
    return started


def open_at(open_page, run, **query):
    app = open_page("compare", run=run.id, compare_view="evaluation", **query)
    assert not app.exception
    return app


def test_without_one_the_page_says_what_it_does_and_asks_for_held_out_samples(open_page, finished_run):
    app = open_at(open_page, finished_run)
    assert "does well on samples that it has not seen" in texts(app)
    assert "has no held-out split. Enter a file" in texts(app)
    assert not [button for button in app.button if button.key == "evaluate_start"]


def test_pruning_rates_are_read_in_per_cent_and_stay_what_they_are(open_page, home, tmp_path, held_out):
    app = open_at(open_page, make_finished_run(tmp_path, pruning_rate=0.955))
    app.text_input(key="evaluate_held_out").set_value(held_out).run()
    rates = app.pills(key="evaluate_rates")
    assert rates.options == ["20%", "50%", "70%", "80%", "90%", "95%", "95.5%"]
    rates.set_value([0.7, 0.955]).run()
    assert "--pruning-rate 0.7" in app.code[0].value and "--pruning-rate 0.955" in app.code[0].value


def test_one_is_started_as_the_form_says(open_page, finished_run, held_out, no_process):
    app = open_at(open_page, finished_run)
    app.text_input(key="evaluate_held_out").set_value(held_out).run()
    app.pills(key="evaluate_methods").set_value(["staff", "random", "ccs"]).run()
    app.number_input(key="evaluate_seeds").set_value(2).run()
    assert "9 cells to compute, about" in texts(app)
    commands = [code.value for code in app.code if code.value.startswith(f"{COMMAND} compare")]
    (command,) = [command for command in commands if "--pilot" not in command]
    words = shlex.split(command.replace("\\\n", ""))
    assert words[4:6] == [finished_run.id, "--evaluate"]
    assert words[words.index("ccs") - 1 : words.index("ccs") + 1] == ["--method", "ccs"]
    app.button(key="evaluate_start").click().run()
    assert not app.exception
    (run,) = no_process
    found = control.read_record(run).evaluation
    assert (found.methods, found.seeds, found.held_out) == (("staff", "random", "ccs"), 2, held_out)
    assert app.query_params["evaluation"] == run.id


def test_beta_and_k_of_the_baselines_are_asked_for_where_one_is_chosen(
    open_page, finished_run, held_out, no_process
):
    app = open_at(open_page, finished_run)
    app.text_input(key="evaluate_held_out").set_value(held_out).run()
    assert not {field.key for field in app.number_input} & {"evaluate_beta", "evaluate_baseline_strata"}
    app.pills(key="evaluate_methods").set_value(["random", "ccs"]).run()
    app.number_input(key="evaluate_beta").set_value(0.3).run()
    app.number_input(key="evaluate_baseline_strata").set_value(7).run()
    assert "--beta 0.3" in app.code[0].value and "--baseline-strata 7" in app.code[0].value
    app.button(key="evaluate_start").click().run()
    assert not app.exception
    (run,) = no_process
    found = control.read_record(run).evaluation
    assert (found.beta, found.baseline_strata) == (0.3, 7)


def test_a_finished_one_shows_what_may_be_said_the_dots_and_the_table(open_page, finished_run, evaluate):
    evaluate()
    app = open_at(open_page, finished_run)
    assert "STAFF is better than random by held-out loss" in texts(app)
    dots = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert "STAFF 2.05" in dots[0] and "Random 2.56" in dots[0] and "full data 2.05" in dots[0]
    assert len(dots) == 2
    frame = app.dataframe[0].value
    assert frame["Trained on"].tolist() == ["nothing (target untouched)", "full data", "STAFF", "Random"]
    assert "7 of 7 fine-tunings are finished" in texts(app)


def test_of_several_rates_only_what_is_said_of_the_one_chosen_is_shown(open_page, finished_run, evaluate):
    evaluate(pruning_rates=(0.9, 0.8))
    app = open_at(open_page, finished_run)
    rate = app.selectbox(key="evaluation_place")
    assert rate.options == ["80% removed", "90% removed"]
    assert "At 80% removed" in texts(app) and "At 90% removed" not in texts(app)
    rate.set_value((0.9, "epochs")).run()
    assert "At 90% removed" in texts(app) and "At 80% removed" not in texts(app)
    assert len(app.dataframe[0].value) == 6


def test_one_at_work_shows_its_stages_and_what_is_there(open_page, finished_run, evaluate):
    evaluate("cancelled", cells=3)
    app = open_at(open_page, finished_run)
    assert "3 of 7 fine-tunings are finished" in texts(app)
    assert [button for button in app.button if button.key == "evaluation_resume"]
    assert "One seed cannot show how much of this is chance" not in texts(app)  # random's is not there yet


def test_what_is_added_joins_the_one_shown(open_page, finished_run, evaluate, no_process):
    run = evaluate()
    app = open_at(open_page, finished_run)
    app.pills(key="evaluate_methods").set_value(["grand"]).run()
    assert "2 cells to compute" in texts(app)
    app.number_input(key=f"evaluate_seeds_{run.id}").set_value(3).run()
    app.button(key="evaluate_start").click().run()
    assert not app.exception
    assert no_process == [run]
    found = control.read_record(run).evaluation
    assert (found.methods, found.seeds) == (("staff", "random", "grand"), 3)


@pytest.fixture
def tuned_run(finished_run, tmp_path):
    """Another finished run on the same data."""
    run = make_finished_run(tmp_path, seed=1)
    control.rename(run, "tuned")
    return run


def test_another_run_on_the_same_data_joins_a_new_one(
    open_page, finished_run, tuned_run, held_out, no_process
):
    app = open_at(open_page, finished_run)
    assert app.multiselect(key="evaluate_also").options == ["tuned"]
    app.text_input(key="evaluate_held_out").set_value(held_out).run()
    assert "10 cells to compute" in texts(app)
    app.multiselect(key="evaluate_also").set_value(["STAFF, tuned"]).run()
    assert "13 cells to compute" in texts(app)
    assert f"--also 'STAFF, tuned={tuned_run.id}'" in app.code[0].value
    app.button(key="evaluate_start").click().run()
    assert not app.exception
    (run,) = no_process
    assert control.read_record(run).evaluation.also == {"STAFF, tuned": str(tuned_run.folder)}


def test_another_run_is_added_to_the_one_shown_and_then_not_offered_again(
    open_page, finished_run, tuned_run, evaluate, no_process, tmp_path
):
    make_finished_run(tmp_path, seed=2)
    run = evaluate()
    app = open_at(open_page, finished_run)
    app.multiselect(key=f"evaluate_also_{run.id}").set_value(["STAFF, tuned"]).run()
    assert "2 cells to compute" in texts(app)
    assert f"--also 'STAFF, tuned={tuned_run.id}'" in app.code[0].value
    app.button(key="evaluate_start").click().run()
    assert not app.exception
    assert no_process == [run]
    assert control.read_record(run).evaluation.also == {"STAFF, tuned": str(tuned_run.folder)}
    left = app.multiselect(key=f"evaluate_also_{run.id}")
    assert (len(left.options), left.value) == (1, [])


def test_without_another_run_on_the_same_data_none_is_asked_for(open_page, finished_run, held_out, tmp_path):
    (tmp_path / "other").mkdir()
    make_finished_run(tmp_path / "other", 100)
    app = open_at(open_page, finished_run)
    assert app.pills(key="evaluate_methods")
    assert not app.multiselect


def test_only_evaluations_of_this_run_are_offered(open_page, finished_run, evaluate, tmp_path):
    evaluate(name="mine")
    (tmp_path / "other").mkdir()
    other = make_finished_run(tmp_path / "other", 100)
    app = open_at(open_page, other)
    assert "does well on samples that it has not seen" in texts(app)
    app = open_at(open_page, finished_run)
    assert app.selectbox(key="evaluation").options == ["mine"]


def test_home_opens_one_under_the_run_that_it_is_of(open_page, finished_run, evaluate):
    run = evaluate()
    app = open_page("home")
    assert "evaluates STAFF, Random on llama-mini" in texts(app)
    app.button(key=f"home_open_{run.id}").click().run()
    assert not app.exception
    assert app.query_params["run"] == finished_run.id
    assert app.query_params["compare_view"] == "evaluation"
    assert "7 of 7 fine-tunings are finished" in texts(app)


def test_a_page_of_coresets_leads_to_it(open_page, finished_run, evaluate):
    run = evaluate()
    app = open_page("select", run=run.id)
    assert "evaluates the coresets of another" in texts(app)
    app.button(key="open_evaluation").click().run()
    assert not app.exception
    assert app.query_params["evaluation"] == run.id


def test_a_pilot_is_started_with_a_click(open_page, finished_run, held_out, no_process):
    app = open_at(open_page, finished_run)
    assert not [button for button in app.button if button.key == "pilot_start"]  # no held-out samples yet
    app.text_input(key="evaluate_held_out").set_value(held_out).run()
    app.number_input(key="pilot_minutes").set_value(500.0).run()
    assert "A pilot fine-tunes the target on STAFF's coreset" in texts(app)
    (command,) = [code.value for code in app.code if "--pilot" in code.value]
    assert "--minutes 500" in command and f"--held-out {held_out}" in command
    app.button(key="pilot_start").click().run()
    assert not app.exception
    (run,) = no_process
    found = control.read_record(run).evaluation
    assert (found.seeds, found.full_seeds) == (10, 0)
    assert app.query_params["evaluation"] == run.id


def test_a_pilot_that_does_not_fit_into_the_time_says_what_it_needs(
    open_page, finished_run, held_out, monkeypatch
):
    from staff_engine.evaluation import planning
    from staff_engine.evaluation.estimate import Estimate

    monkeypatch.setattr(planning, "estimate_of", lambda *_, **__: Estimate(5, 0.0, 900.0, 0.0, "made up"))
    app = open_at(open_page, finished_run)
    app.text_input(key="evaluate_held_out").set_value(held_out).run()
    assert "minutes is 10, allowed\\: at least 15.0" in texts(app)
    assert not [button for button in app.button if button.key == "pilot_start"]
