"""Runs that work on another host: what this one sees of them, and what it leaves alone.

The test process takes itself for the host *desk*. The workers that it starts are on the real one.
"""

import os
import signal
import socket
import subprocess
from contextlib import nullcontext

import pytest

from staff_engine.cli.main import main
from staff_engine.errors import RunError
from staff_engine.plan import Plan
from staff_engine.runs import control, worker
from staff_engine.runs.alive import heartbeat, process
from staff_engine.runs.alive.heartbeat import HEARTBEAT_FILE, TakenOver
from staff_engine.runs.control import create_run, read_status, start
from staff_engine.runs.status import CANCEL_FILE, STATUS_FILE, Status, load_status, now, save_status
from staff_engine.runs.worker import working
from staff_engine.system import hosts
from staff_engine.system.hosts import this_host
from tests.helpers.fake_worker import kill_leftovers, wait_for, wait_for_state
from tests.helpers.other_host import GPU_07, beat_of, quick_worker, rename_host

REAL_NAME = socket.gethostname()
PLAN = Plan.make(dataset="builtin:docstrings", small="builtin:llama-nano", target="builtin:llama-mini")


@pytest.fixture(autouse=True)
def staff_home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("STAFF_HOME", str(folder))
    rename_host(monkeypatch, "desk")
    yield folder
    this_host.cache_clear()
    kill_leftovers(folder)


@pytest.fixture
def run():
    return create_run(PLAN)


@pytest.fixture
def elsewhere(run, monkeypatch):
    """A run that works on another host; nobody may look up its pid here, or signal it."""
    start(run, worker=quick_worker("attentive"))
    wait_for(lambda: load_status(run.folder).state == "running")
    pid = load_status(run.folder).pid

    def careful(ask):
        def asked(number, *rest, **options):
            assert number != pid, "a pid of another host is used on this one"
            return ask(number, *rest, **options)

        return asked

    for module, name in ((process, "is_alive"), (control, "stop_process")):
        monkeypatch.setattr(module, name, careful(getattr(module, name)))
    return run


def kill(run):
    os.kill(load_status(run.folder).pid, signal.SIGKILL)


def test_a_run_on_another_host_is_running_and_its_host_is_named(elsewhere, capsys):
    status = read_status(elsewhere)
    assert (status.state, status.elsewhere, status.is_here) == ("running", REAL_NAME, False)
    control.settle([elsewhere])
    assert heartbeat.look(elsewhere.folder) == "beats"
    assert main(["list"]) == 0
    assert f"running on {REAL_NAME}" in capsys.readouterr().out
    assert main(["status", elsewhere.id]) == 0
    assert f"running on {REAL_NAME}" in capsys.readouterr().out


def test_it_can_be_neither_started_nor_resumed_nor_deleted_here(elsewhere):
    pid = load_status(elsewhere.folder).pid
    for action in (start, control.resume):
        with pytest.raises(RunError, match=rf"is already running on {REAL_NAME} \(process {pid}\)"):
            action(elsewhere)
    with pytest.raises(RunError, match=rf"is running on {REAL_NAME} \(process {pid}\); cancel it first"):
        control.delete(elsewhere)
    assert read_status(elsewhere).state == "running"


def test_a_beating_heart_refuses_whatever_the_status_says(elsewhere, monkeypatch):
    """On a network file system, status.json can be out of date."""
    pid = load_status(elsewhere.folder).pid
    monkeypatch.setattr(control, "load_status", lambda folder: Status(state="interrupted"))
    for action in (start, control.delete):
        with pytest.raises(RunError, match=rf"process {pid} on {REAL_NAME} already works on run"):
            action(elsewhere)
    assert elsewhere.folder.exists()


def test_a_status_that_was_being_replaced_is_read_again(run, monkeypatch):
    save_status(run.folder, Status(state="finished"))
    path = run.folder / STATUS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:50])

    def wait(seconds):
        if seconds:
            path.write_bytes(whole)

    monkeypatch.setattr("staff_engine.runs.status.time.sleep", wait)
    assert load_status(run.folder).state == "finished"


def test_it_is_cancelled_by_the_flag_alone(elsewhere):
    assert control.cancel(elsewhere, grace=0).state == "cancelled"
    assert load_status(elsewhere.folder).state == "cancelled", "the process wrote it itself"
    wait_for(lambda: not (elsewhere.folder / HEARTBEAT_FILE).exists())


def test_one_that_does_not_stop_is_said_to_be_still_running(run, monkeypatch):
    monkeypatch.setattr(control, "CANCEL_ELSEWHERE_SECONDS", 0)
    save_status(run.folder, Status(state="running", pid=1, pid_started=1.0, host=GPU_07))
    beat_of(run, f"{GPU_07} 1", "2026-01-01")
    with pytest.raises(RunError, match="was asked to stop but is still running on gpu-07 after 0 s"):
        control.cancel(run, grace=0)
    assert (run.folder / CANCEL_FILE).exists()


def test_one_that_was_killed_is_interrupted_after_a_silence_and_can_be_resumed_here(elsewhere, monkeypatch):
    pid = load_status(elsewhere.folder).pid
    kill(elsewhere)
    assert read_status(elsewhere).state == "running", "it may only be slow"
    monkeypatch.setattr(heartbeat, "SILENCE_SECONDS", 0.2)
    control.settle([elsewhere])
    status = read_status(elsewhere)
    assert (status.state, status.message) == ("interrupted", f"process {pid} on {REAL_NAME} is gone")
    control.resume(elsewhere, worker=quick_worker("finish"))
    wait_for(lambda: load_status(elsewhere.folder).state == "finished")


def test_one_that_is_cancelled_after_it_was_killed_is_cancelled(elsewhere, monkeypatch):
    kill(elsewhere)
    monkeypatch.setattr(heartbeat, "SILENCE_SECONDS", 0.2)
    assert control.cancel(elsewhere).state == "cancelled"


def test_a_run_from_before_a_restart_of_this_host_is_interrupted_at_once(run, monkeypatch):
    name, machine, _, pids = this_host().split("/")
    before = f"{name}/{machine or 'machine'}/another/{pids}"
    monkeypatch.setattr(hosts, "this_host", lambda: f"{name}/{machine or 'machine'}/now/{pids}")
    save_status(run.folder, Status(state="running", pid=1, pid_started=1.0, host=before))
    beat_of(run, f"{before} 1", "2026-01-01")
    assert (read_status(run).state, read_status(run).message) == ("interrupted", "process 1 is gone")


def test_a_status_without_a_host_is_of_this_one(run):
    own = Status(state="running", pid=os.getpid(), pid_started=1.0)
    content = own.model_dump(mode="json")
    del content["host"]
    assert Status.model_validate(content).is_here
    save_status(run.folder, own)
    assert read_status(run).state == "interrupted", "the pid belongs to another process"
    assert read_status(run).message == f"process {os.getpid()} is gone"


def test_each_host_has_a_queue_of_its_own(elsewhere):
    other = create_run(PLAN)
    with working(other):
        assert read_status(other).state == "running"
        assert read_status(elsewhere).state == "running"


def test_the_queue_of_another_host_is_left_to_it(run, monkeypatch):
    waiting = {"state": "queued", "message": "waits: place 1 in the queue", "pid": 1, "started": now()}
    save_status(run.folder, Status(**waiting, host=GPU_07))
    own = create_run(PLAN)
    save_status(own.folder, Status(**waiting, host="desk//another container/1"))
    alive = create_run(PLAN)
    save_status(alive.folder, Status(**waiting, host="desk//a third container/1"))
    monkeypatch.setattr(process, "wait_for_sign", lambda folder: folder == alive.folder)
    monkeypatch.setattr(control, "WORKER", quick_worker("finish"))
    assert control.restart_queued() == [own]
    wait_for(lambda: load_status(own.folder).state == "finished")


def test_where_locks_do_not_hold_a_second_worker_is_refused_by_the_heartbeat(elsewhere, monkeypatch):
    monkeypatch.setattr(worker, "_only_process_of", lambda run: nullcontext())
    before = load_status(elsewhere.folder)
    refused = pytest.raises(RunError, match=rf"process {before.pid} on {REAL_NAME} already works on run")
    with refused, working(elsewhere):
        raise AssertionError
    assert load_status(elsewhere.folder).pid == before.pid


def test_a_worker_that_was_suspended_leaves_the_run_to_its_successor(run, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    with pytest.raises(TakenOver, match="was taken over by process 7 on gpu-07"), working(run):
        save_status(run.folder, Status(state="running", pid=7, pid_started=1.0, host=GPU_07))
        beat_of(run, f"{GPU_07} 7", "2026-01-01")
        wait_for(lambda: False)
    status = load_status(run.folder)
    assert (status.state, status.pid, status.host) == ("running", 7, GPU_07)
    assert (run.folder / HEARTBEAT_FILE).read_text().startswith(GPU_07)
    assert "was taken over by process 7 on gpu-07" in run.log.read_text()


def test_a_run_folder_that_cannot_be_locked_is_an_error_that_says_so(run, monkeypatch):
    def fail(*_, **__):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    with pytest.raises(RunError, match=f"run {run.id} cannot be locked: .*No locks available"):
        start(run)


def test_a_run_in_another_container_is_known_by_its_heartbeat(run, monkeypatch):
    """A real one: with another host name and a pid namespace of its own."""
    command = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        subprocess.run([*command, "hostname", "inside"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user cannot make namespaces")
    rename_host(monkeypatch, REAL_NAME)
    inside = (*command, "sh", "-c", 'hostname inside; exec "$@"', "sh", *quick_worker("attentive"))
    start(run, worker=inside)
    status = wait_for_state(run, "running")
    assert (status.elsewhere, status.pid) == ("inside", 1), "its pid here is another process's"
    control.settle([run])
    assert read_status(run).state == "running"
    assert control.cancel(run).state == "cancelled"
