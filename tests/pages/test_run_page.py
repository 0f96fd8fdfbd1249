import json
import os
from types import SimpleNamespace

import pytest

from staff_engine.pipelines.forecast import job
from staff_engine.pipelines.forecast.extrapolation import Forecast
from staff_engine.runs import control
from staff_engine.runs.status import Status, save_status
from staff_engine.system.processes import start_time

PLAN = {"dataset": "builtin:docstrings", "limit": 600}


def texts(app):
    kinds = ("markdown", "caption", "info", "error", "warning")
    return " ".join(element.value for kind in kinds for element in app.get(kind))


@pytest.fixture
def planned(open_page, monkeypatch):
    """The Run page with data chosen; runs start without a process of theirs."""
    from pages.parts.run import form

    def start(run, **_):
        save_status(run.folder, Status(pid=os.getpid(), pid_started=start_time(os.getpid())))

    monkeypatch.setattr(form, "start", start)
    app = open_page("run")
    app.session_state.new_plan = dict(PLAN)
    return app.run()


def test_without_data_the_page_says_where_to_choose_it(open_page):
    app = open_page("run")
    assert not app.exception
    assert "No data selected yet" in texts(app)
    app.button(key="plan_builtin").click().run()
    assert not app.exception
    assert "builtin\\:docstrings" in texts(app)


def test_a_plan_has_sensible_models_and_a_command_line_to_copy(planned):
    assert not planned.exception
    assert planned.text_input(key="plan_small").value == "builtin:llama-nano"
    assert planned.selectbox(key="plan_preset").value.startswith("Llama")
    [command] = [code.value for code in planned.code if "staff_engine run" in code.value]
    assert "--limit 600" in command


def test_what_is_turned_stands_in_the_command_and_in_the_run(planned):
    planned.number_input(key="plan_strata").set_value(12).run()
    planned.selectbox(key="plan_strata_by").set_value("log").run()
    [command] = [code.value for code in planned.code if "staff_engine run" in code.value]
    assert "--strata 12" in command
    assert "--strata-by log" in command
    planned.button(key="plan_start").click().run()
    [run] = control.list_runs()
    plan = control.read_record(run).plan
    assert (plan.strata, plan.strata_by, plan.limit, plan.small) == (12, "log", 600, "builtin:llama-nano")
    assert planned.session_state.run == run.id


def test_an_optional_text_can_be_emptied_again(planned):
    for text, said in (("-mlp", True), ("", False)):
        planned.text_input(key="plan_lora_targets").set_value(text).run()
        assert not planned.exception
        [command] = [code.value for code in planned.code if "staff_engine run" in code.value]
        assert ("--lora-targets" in command) is said
    planned.button(key="plan_start").click().run()
    [run] = control.list_runs()
    assert control.read_record(run).plan.lora_targets is None


def test_the_target_can_be_tuned_from_the_page(planned):
    field = planned.number_input(key="plan_tune_target")
    assert (field.value, field.min, field.max) == (0, 0, 10_000)
    assert "0: the target is not fine-tuned" in field.help
    field.set_value(60).run()
    [command] = [code.value for code in planned.code if "staff_engine run" in code.value]
    assert "--tune-target 60" in command
    planned.button(key="plan_start").click().run()
    [run] = control.list_runs()
    assert control.read_record(run).plan.tune_target == 60


def test_a_wrong_model_is_said_and_nothing_can_be_started(planned):
    planned.text_input(key="plan_small").set_value("builtin:nothing").run()
    assert not planned.exception
    assert "builtin\\:nothing" in planned.error[0].value
    assert not [button for button in planned.button if button.key == "plan_start"]


def test_a_forecast_is_shown_when_it_is_done(planned, monkeypatch):
    found = SimpleNamespace(
        state="done", message="", samples=600, tokens=60_000,
        stages={"fine-tune": 12.0, "tune target": 7.0, "verify": 30.0},
        total_seconds=42.0, memory_bytes=1_300_000_000, verified_at_most=500, full_target_seconds=90.0,
        share_saved=0.53,
    )  # fmt: skip
    monkeypatch.setattr(job, "read_forecast", lambda key, plan: found)
    planned.run()
    values = {metric.label: metric.value for metric in planned.metric}
    assert values["Time"] == "42 s"
    assert values["Memory"] == "1.3 GB"
    assert values["Time saved"] == "53%"
    assert "Fine-tune the target on other samples: 7.0 s" in texts(planned)
    assert "12 strata" in texts(planned)  # 500 of 600 verified saves little: 600 / 5 / 10


def test_a_forecast_that_saves_nothing_says_so_and_what_helps(planned, monkeypatch):
    found = Forecast(
        state="done", samples=600, stages={"fine-tune": 60.0, "verify": 30.0}, total_seconds=90.0,
        memory_bytes=10**9, verified_at_most=100, full_target_seconds=45.0, share_saved=-1.0,
    )  # fmt: skip
    monkeypatch.setattr(job, "read_forecast", lambda key, plan: found)
    planned.run()
    assert {metric.label: metric.value for metric in planned.metric}["Time saved"] == "None"
    assert "2.0 times as long" in texts(planned)


@pytest.mark.parametrize(
    ("state", "button"),
    [
        ("queued", "run_cancel"),
        ("running", "run_cancel"),
        ("failed", "run_resume"),
        ("cancelled", "run_resume"),
        ("interrupted", "run_resume"),
        ("damaged", None),
    ],
)
def test_every_state_says_the_next_step(open_page, run_in_state, state, button):
    from pages.parts.run.live import NEXT

    run = run_in_state(state, message="the disk is full" if state == "failed" else "")
    app = open_page("run", run=run.id)
    assert not app.exception
    assert NEXT[state] in texts(app)
    keys = {each.key for each in app.button}
    assert button is None or button in keys
    if state == "failed":
        assert "The disk is full" in texts(app)


def test_a_run_at_work_shows_stages_rate_and_time_left(open_page, run_in_state):
    app = open_page("run", run=run_in_state("running").id)
    said = [progress.proto.text for progress in app.get("progress")]
    assert any("120 of 600 samples, 60 per second, 8.0 s left" in text for text in said)


def test_the_tuning_of_the_target_is_a_stage_where_the_plan_has_it(open_page, run_in_state):
    run = run_in_state("running")
    without = [progress.proto.text for progress in open_page("run", run=run.id).get("progress")]
    control.update_record(run, plan=control.read_record(run).plan.but(tune_target=60))
    with_it = [progress.proto.text for progress in open_page("run", run=run.id).get("progress")]
    place = with_it.index(":gray[Fine-tune the target on other samples]")
    assert with_it[place + 1] == ":gray[Verify samples on the target]"
    assert with_it[:place] + with_it[place + 1 :] == without


def test_the_loss_of_the_targets_tuning_is_shown_where_there_is_one(open_page, finished_run):
    assert len(open_page("run", run=finished_run.id).get("plotly_chart")) == 2
    history = (finished_run.folder / "fine_tuning.json").read_text()
    (finished_run.folder / "target_tuning.json").write_text(history)
    app = open_page("run", run=finished_run.id)
    assert not app.exception
    assert len(app.get("plotly_chart")) == 3
    assert "Fine-tuning of the target" in [header.value for header in app.subheader]


def test_a_finished_run_leads_on_to_its_results(open_page, finished_run):
    app = open_page("run", run=finished_run.id)
    assert not app.exception
    assert {metric.label: metric.value for metric in app.metric}["Coreset"] == "39 of 393"
    app.button(key="run_select").click().run()
    assert app.title[0].value == "Select"


def test_plan_again_brings_the_settings_of_the_run(open_page, finished_run):
    app = open_page("run", run=finished_run.id)
    app.button(key="run_again").click().run()
    assert not app.exception
    assert app.session_state.run is None
    assert app.number_input(key="plan_strata").value == 10


@pytest.mark.parametrize(
    ("word", "advice"), [("high", []), ("low", ["Take another small model.", "Train it longer."])]
)
def test_a_finished_run_says_how_far_to_trust_the_small_model(open_page, finished_run, word, advice):
    path = finished_run.folder / "summary.json"
    summary = json.loads(path.read_text())
    trust = {**summary["trust"], "word": word, "sentence": "So it was measured.", "advice": advice}
    path.write_text(json.dumps({**summary, "trust": trust}))
    app = open_page("run", run=finished_run.id)
    assert not app.exception
    assert f"**Reliability of the small model: {word}.** So it was measured." in texts(app)
    assert len(app.warning) == (1 if advice else 0)
    for line in advice:
        assert f"- {line}" in app.warning[0].value


def test_a_run_of_an_older_version_says_nothing_of_trust(open_page, finished_run):
    path = finished_run.folder / "summary.json"
    summary = json.loads(path.read_text())
    del summary["trust"]
    path.write_text(json.dumps(summary))
    app = open_page("run", run=finished_run.id)
    assert not app.exception
    assert "Trust" not in texts(app)


def test_a_machine_with_several_gpus_offers_all_of_them(planned, monkeypatch):
    from pages.parts.run import form

    assert not [each for each in planned.toggle if each.key == "plan_all_gpus"]
    monkeypatch.setattr(form, "visible_gpus", lambda: 4)
    planned.run()
    planned.toggle(key="plan_all_gpus").set_value(True).run()
    assert planned.number_input(key="plan_processes").value == 4
    [command] = [code.value for code in planned.code if "staff_engine run" in code.value]
    assert "--processes 4" in command
    planned.number_input(key="plan_processes").set_value(2).run()
    assert planned.toggle(key="plan_all_gpus").value is False
