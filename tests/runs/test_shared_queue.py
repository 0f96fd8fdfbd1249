"""The queue of a server with several users: one for all of them, and a limit for each."""

import pytest

from staff_engine.errors import StaffError
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.control import create_run, read_status, start
from staff_engine.system.home import in_home, user_home
from staff_engine.system.processes import stop_process
from tests.helpers.fake_worker import fake_worker, kill_leftovers, wait_for, wait_for_state


@pytest.fixture(autouse=True)
def staff_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STAFF_SHARED", "1")
    yield
    for name in ("ada", "bob"):
        kill_leftovers(user_home(name))


@pytest.fixture
def plan():
    return Plan.make(dataset="builtin:docstrings", small="builtin:llama-nano", target="builtin:llama-mini")


def make(plan, name):
    with in_home(user_home(name)):
        return create_run(plan)


def begin(run, how):
    with in_home(run.folder.parents[1]):
        start(run, worker=fake_worker(how))


def test_the_runs_of_all_users_wait_in_one_queue(plan):
    first, second, third = make(plan, "ada"), make(plan, "bob"), make(plan, "ada")
    begin(first, "attentive")
    wait_for_state(first, "running")
    for run, place in ((second, 1), (third, 2)):
        begin(run, "finish")
        wait_for(lambda run=run, place=place: f"place {place} " in read_status(run).message)
    control.cancel(first)
    for run in (second, third):
        wait_for_state(run, "finished")


def test_a_user_has_only_so_many_runs_at_once_and_others_have_their_own(plan, monkeypatch):
    monkeypatch.setenv("STAFF_QUOTA_RUNS", "1")
    first, second, other = make(plan, "ada"), make(plan, "ada"), make(plan, "bob")
    begin(first, "attentive")
    with pytest.raises(StaffError, match="1 of your runs wait or work; allowed: 1 at once"):
        begin(second, "finish")
    begin(other, "finish")
    wait_for_state(first, "running")
    control.cancel(first)
    wait_for_state(other, "finished")
    begin(second, "finish")
    wait_for_state(second, "finished")


def test_runs_of_all_users_wait_again_after_a_restart(plan, monkeypatch):
    working, waiting = make(plan, "ada"), make(plan, "bob")
    begin(working, "attentive")
    wait_for_state(working, "running")
    begin(waiting, "attentive")
    wait_for(lambda: "waits" in read_status(waiting).message)
    for run in (waiting, working):
        status = read_status(run)
        stop_process(status.pid, status.pid_started, grace=0, last_grace=0)
    wait_for(lambda: read_status(waiting).state == "interrupted")
    status = control.load_status(waiting.folder)
    if status.state != "queued":  # SIGTERM let it write its end; a machine that stops does not
        control.save_status(
            waiting.folder, status.model_copy(update={"state": "queued", "message": "waits: "})
        )
    monkeypatch.setattr(control, "WORKER", fake_worker("finish"))
    assert control.restart_queued() == [waiting]
    wait_for_state(waiting, "finished")
