"""The queue: who works, who waits at which place, and how soon a cancelled run stops."""

import os
import signal
import subprocess
import sys
import time

import pytest

from staff_engine.errors import PlanError
from staff_engine.plan import Plan
from staff_engine.runs import control, worker
from staff_engine.runs.control import create_run, list_runs, read_status, start
from staff_engine.runs.integrity.check import find_damage
from staff_engine.runs.status import load_status
from tests.helpers.fake_worker import fake_worker, kill_leftovers, wait_for, wait_for_state

PATIENCE_WITH_MODELS = 240.0
"""Seconds until a run reaches its last stage on a busy machine; on a quiet one it takes 25."""


@pytest.fixture(autouse=True)
def staff_home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("STAFF_HOME", str(folder))
    yield folder
    kill_leftovers(folder)


@pytest.fixture
def plan():
    return Plan.make(dataset="builtin:docstrings", small="builtin:llama-nano", target="builtin:llama-mini")


def test_one_run_works_at_a_time_and_the_others_wait_in_order(plan):
    first, second, third = (create_run(plan) for _ in range(3))
    start(first, worker=fake_worker("attentive"))
    wait_for_state(first, "running")
    start(second, worker=fake_worker("attentive"))
    start(third, worker=fake_worker("finish"))
    for waiting in (second, third):
        wait_for(lambda waiting=waiting: "waits" in read_status(waiting).message)
        assert read_status(waiting).state == "queued"
    control.cancel(first)
    wait_for_state(second, "running")
    wait_for(lambda: read_status(third).message == "waits: place 1 in the queue")
    assert read_status(third).state == "queued"
    control.cancel(second)
    wait_for_state(third, "finished")


def test_a_queued_run_can_be_cancelled_while_it_waits(plan):
    from filelock import FileLock

    run = create_run(plan)
    with FileLock(worker.place_file(0)):
        start(run, worker=fake_worker("finish"))
        wait_for(lambda: "waits" in read_status(run).message)
        assert control.cancel(run).state == "cancelled"


def test_waiting_runs_show_their_place(plan):
    runs = [create_run(plan) for _ in range(4)]
    for run in runs:
        start(run, worker=fake_worker("attentive"))
        wait_for(lambda run=run: read_status(run).message or read_status(run).state == "running")
    places = [f"waits: place {place} in the queue" for place in (1, 2, 3)]
    wait_for(lambda: [read_status(run).message for run in runs[1:]] == places)
    control.cancel(runs[1])
    wait_for(lambda: [read_status(run).message for run in runs[2:]] == places[:2])


def test_a_setting_lets_several_work_at_once(plan, monkeypatch):
    monkeypatch.setenv(worker.WORKERS_VARIABLE, "2")
    runs = [create_run(plan) for _ in range(3)]
    for run in runs:
        start(run, worker=fake_worker("attentive"))
        wait_for(lambda run=run: read_status(run).message or read_status(run).state == "running")
    assert [read_status(run).state for run in runs] == ["running", "running", "queued"]
    control.cancel(runs[0])
    wait_for_state(runs[2], "running")


@pytest.mark.parametrize("text", ["0", "-1", "many", "65", ""])
def test_a_setting_that_is_no_number_of_runs_is_refused(monkeypatch, text):
    monkeypatch.setenv(worker.WORKERS_VARIABLE, text)
    with pytest.raises(PlanError, match=rf"STAFF_WORKERS is '{text}'; allowed: 1 to 64"):
        worker.most_workers()


def test_runs_that_waited_when_the_machine_stopped_wait_again_in_their_order(plan, monkeypatch):
    working, *waiting = (create_run(plan) for _ in range(3))
    start(working, worker=fake_worker("attentive"))
    wait_for_state(working, "running")
    for run in waiting:
        start(run, worker=fake_worker("attentive"))
        wait_for(lambda run=run: "waits" in read_status(run).message)
    for run in (working, *waiting):
        os.kill(read_status(run).pid, signal.SIGKILL)
        wait_for_state(run, "interrupted")
    monkeypatch.setattr(control, "WORKER", fake_worker("finish"))
    assert control.restart_queued() == waiting, "what was at work is resumed by hand"
    for run in waiting:
        wait_for_state(run, "finished")
    assert load_status(waiting[0].folder).started < load_status(waiting[1].folder).started
    assert control.restart_queued() == []


def test_a_cancelled_run_that_does_not_look_at_the_flag_is_interrupted_soon(plan):
    run = create_run(plan)
    start(run, worker=fake_worker("busy"))
    wait_for_state(run, "running")
    begun = time.monotonic()
    assert control.cancel(run, grace=60).state == "cancelled"
    assert time.monotonic() - begun < 30
    assert "cancelled" in run.log.read_text()


@pytest.mark.long
@pytest.mark.parametrize("stage", ["import", "tokenize", "fine-tune", "speculate", "verify"])
def test_a_run_with_models_is_cancelled_soon_in_every_stage(plan, stage, record_property):
    run = create_run(plan.but(limit=300, epochs=1, strata=20, verify_per_stratum=20))
    start(run)
    wait_for(lambda: read_status(run).stage == stage, patience=PATIENCE_WITH_MODELS)
    begun = time.monotonic()
    assert control.cancel(run, grace=60).state == "cancelled"
    seconds = time.monotonic() - begun
    record_property("seconds", round(seconds, 1))
    assert seconds < 15, "on a quiet machine under 5"


def _hear_ctrl_c():
    """A process that a shell started in the background ignores Ctrl-C, and so would the command."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.long
def test_ctrl_c_cancels_the_run_of_a_command_soon_and_keeps_whole_parts(tmp_path, record_property):
    command = [sys.executable, "-m", "staff_engine", "run", "--dataset=builtin:docstrings", "--limit=300",
               "--small=builtin:llama-nano", "--target=builtin:llama-mini", "--epochs=1"]  # fmt: skip
    said = tmp_path / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, preexec_fn=_hear_ctrl_c
        )
    try:
        wait_for(list_runs)
        (run,) = list_runs()
        wait_for(lambda: read_status(run).stage == "speculate", patience=PATIENCE_WITH_MODELS)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 1
        seconds = time.monotonic() - begun
    finally:
        process.kill()
        process.wait()
    record_property("seconds", round(seconds, 1))
    assert read_status(run).state == "cancelled"
    assert f"run {run.id} is cancelled; to continue:" in said.read_text()
    assert seconds < 15, "on a quiet machine under 5"
    assert find_damage(run.folder) == []
    assert (run.folder / "adapter" / "adapter_model.safetensors").exists()
    assert not list(run.folder.rglob("*.part"))
