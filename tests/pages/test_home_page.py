import os

import pytest

from staff_engine.runs import control
from staff_engine.runs.status import Status, save_status
from staff_engine.system.processes import start_time
from tests.helpers.other_host import GPU_07, beat_of


def texts(app):
    return " ".join(
        element.value for kind in ("markdown", "caption", "info", "error") for element in app.get(kind)
    )


@pytest.fixture
def no_process(monkeypatch):
    """Runs are started without a process of theirs: this one stands in."""
    from staff_engine.pipelines import demo

    def start(run, **_):
        save_status(run.folder, Status(pid=os.getpid(), pid_started=start_time(os.getpid())))

    monkeypatch.setattr(demo, "start", start)
    monkeypatch.setattr(control, "start", start)


def test_an_empty_home_says_what_this_is_and_what_to_do(open_page):
    app = open_page("home")
    assert not app.exception
    assert "Select the part of a fine-tuning set that is worth training on" in texts(app)
    assert "No runs yet" in texts(app)
    assert {"Try the demo", "Start with my data"} <= {button.label for button in app.button}


def test_the_demo_starts_and_its_run_is_shown(open_page, no_process):
    app = open_page("home")
    app.button(key="home_demo").click().run()
    [run] = control.list_runs()
    assert not app.exception
    assert app.session_state.run == run.id
    assert app.title[0].value == "Demo\\: docstrings"


def test_the_demo_is_to_be_had_for_another_task_and_family(open_page, no_process):
    app = open_page("home")
    app.radio(key="home_demo_task").set_value("chat").run()
    app.radio(key="home_demo_family").set_value("Gemma").run()
    app.button(key="home_demo").click().run()
    [run] = control.list_runs()
    plan = control.read_record(run).plan
    assert not app.exception
    assert (plan.dataset, plan.small) == ("builtin:chat", "builtin:gemma-nano")


def test_the_demo_is_to_be_had_with_faults_made_on_purpose(open_page, no_process):
    app = open_page("home")
    app.toggle(key="home_demo_faults").set_value(True).run()
    app.button(key="home_demo").click().run()
    assert not app.exception
    [run] = control.list_runs()
    assert control.read_record(run).plan.dataset == "builtin:docstrings?swapped=0.25&duplicates=0.05"


def test_every_run_is_listed_with_state_data_models_and_size(open_page, finished_run):
    app = open_page("home")
    said = texts(app)
    for part in ("made up", "rows.jsonl", "llama-nano for llama-mini", "39 of 393 samples", "just now"):
        assert part in said


@pytest.mark.parametrize(
    ("state", "actions"),
    [
        ("queued", {"rename", "again", "cancel"}),
        ("running", {"rename", "again", "cancel"}),
        ("failed", {"rename", "again", "resume", "delete"}),
        ("cancelled", {"rename", "again", "resume", "delete"}),
        ("interrupted", {"rename", "again", "resume", "delete"}),
        ("damaged", set()),
    ],
)
def test_a_run_offers_what_its_state_allows(open_page, run_in_state, state, actions):
    run = run_in_state(state)
    app = open_page("home")
    assert not app.exception
    from pages.parts.run.listing import _actions

    assert set(_actions(control.describe(run))) == actions


def test_open_goes_to_the_results_of_a_finished_run(open_page, finished_run):
    app = open_page("home")
    app.button(key=f"home_open_{finished_run.id}").click().run()
    assert not app.exception
    assert app.session_state.run == finished_run.id
    assert app.title[0].value == "Select"


def test_many_runs_are_listed_a_page_at_a_time(open_page, run_in_state):
    for _ in range(12):
        run_in_state("cancelled")
    app = open_page("home")
    opening = [button for button in app.button if button.label == "Open"]
    assert len(opening) == 10


def test_the_host_of_a_run_is_shown_if_it_is_another_one(open_page, run_in_state):
    run = run_in_state("running", host=GPU_07)
    run_in_state("running")
    beat_of(run, f"{GPU_07} 7", "2026-01-01")
    app = open_page("home")
    assert not app.exception
    assert texts(app).count("running on gpu") == 1
    app = open_page("run", run=run.id)
    assert not app.exception
    assert texts(app).count("running on gpu") == 1
