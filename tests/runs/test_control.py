"""Runs as folders with a process of their own."""

import json
import os
import shutil
import signal
import sys

import psutil
import pytest

from staff_engine.data.sources import keep_upload
from staff_engine.errors import PlanError, RunError, StaffError
from staff_engine.plan import Plan
from staff_engine.runs import control, worker
from staff_engine.runs.control import Run, create_run, find_run, list_runs, read_record, read_status, start
from staff_engine.runs.status import (
    CANCEL_FILE,
    STATUS_FILE,
    Status,
    decide_state,
    save_status,
)
from staff_engine.runs.worker import working
from staff_engine.system import processes
from staff_engine.system.home import home
from tests.helpers.fake_worker import fake_worker, kill_leftovers, wait_for, wait_for_state


@pytest.fixture(autouse=True)
def staff_home(tmp_path, monkeypatch):
    """A home of the test's own; what still runs at the end is killed."""
    home = tmp_path / "home"
    monkeypatch.setenv("STAFF_HOME", str(home))
    yield home
    kill_leftovers(home)


@pytest.fixture
def plan():
    return Plan.make(dataset="builtin:docstrings", small="builtin:llama-nano", target="builtin:llama-mini")


@pytest.fixture
def run(plan):
    return create_run(plan)


# States


@pytest.mark.parametrize("recorded", ["finished", "failed", "cancelled", "interrupted", "damaged"])
@pytest.mark.parametrize("alive", [True, False])
def test_a_final_state_is_believed(recorded, alive):
    assert decide_state(recorded, started=True, alive=alive, cancel_asked=True) == recorded


@pytest.mark.parametrize("recorded", ["queued", "running"])
def test_an_active_state_is_believed_only_of_a_living_process(recorded):
    assert decide_state(recorded, started=True, alive=True, cancel_asked=True) == recorded
    assert decide_state(recorded, started=True, alive=False, cancel_asked=False) == "interrupted"
    assert decide_state(recorded, started=True, alive=False, cancel_asked=True) == "cancelled"


def test_a_run_that_was_never_started_is_queued():
    assert decide_state("queued", started=False, alive=False, cancel_asked=False) == "queued"
    assert decide_state("queued", started=False, alive=False, cancel_asked=True) == "cancelled"


def test_a_process_is_known_by_pid_and_start_time():
    own = os.getpid()
    began = processes.start_time(own)
    assert began == psutil.Process().create_time()
    assert processes.is_alive(own, began)
    assert processes.is_alive(own, began - 1), "the clock was adjusted by a second"
    assert not processes.is_alive(own, began - 100), "the pid was used again"
    assert not processes.is_alive(None, None)
    assert not processes.is_alive(2**22 + 1, began), "no such process"
    assert processes.start_time(2**22 + 1) == 0.0


def test_a_running_run_whose_pid_now_belongs_to_another_process_is_interrupted(run):
    save_status(run.folder, Status(state="running", pid=os.getpid(), pid_started=1.0))
    assert read_status(run).state == "interrupted"
    with pytest.raises(RunError, match="is interrupted; only a queued or running run can be cancelled"):
        control.cancel(run)


# Folders


def test_a_new_run_lies_in_the_home_with_its_plan_and_waits(plan, staff_home):
    run = create_run(plan, name="first try")
    assert run.folder.parent == staff_home / "runs"
    record = read_record(run)
    assert (record.name, record.plan) == ("first try", plan)
    assert set(record.versions) >= {"python", "torch", "transformers"}
    assert read_status(run).state == "queued"
    assert sorted(path.name for path in run.folder.iterdir()) == ["plan.json", "status.json"]
    assert json.loads((run.folder / "plan.json").read_text())["plan"]["pruning_rate"] == 0.9


def test_local_paths_in_the_plan_become_absolute(plan, tmp_path, monkeypatch):
    (tmp_path / "own.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    record = read_record(create_run(plan.but(dataset="own.jsonl", target="org/model")))
    assert record.plan.dataset == str(tmp_path / "own.jsonl")
    assert record.plan.target == "org/model"


def test_so_do_those_of_an_adapter_and_of_a_chat_template(plan, tmp_path, monkeypatch):
    (tmp_path / "tuned").mkdir()
    (tmp_path / "chat.jinja").touch()
    monkeypatch.chdir(tmp_path)
    record = read_record(create_run(plan.but(target="org/model@abc+tuned", chat_template="chat.jinja")))
    assert record.plan.target == f"org/model@abc+{tmp_path / 'tuned'}"
    assert record.plan.chat_template == str(tmp_path / "chat.jinja")


def test_runs_are_listed_newest_first(plan, monkeypatch):
    assert list_runs() == []
    created = []
    for second in range(3):
        moment = control.now().replace(second=second)
        monkeypatch.setattr("staff_engine.runs.folders.now", lambda moment=moment: moment)
        created.append(create_run(plan))
    assert list_runs() == created[::-1]
    assert find_run("latest") == created[-1]


def test_a_run_is_found_by_id_beginning_name_and_path(plan):
    run = create_run(plan, name="mine")
    for text in (run.id, run.id[:-2], "mine", str(run.folder), "latest"):
        assert find_run(text) == run


def test_an_unknown_or_ambiguous_run_names_those_that_come_near(plan, tmp_path):
    with pytest.raises(RunError, match="'latest' does not exist; there are none in"):
        find_run("latest")
    first, second = create_run(plan, name="kazakh"), create_run(plan, name="kazakh")
    with pytest.raises(RunError, match="'kazak' does not exist; the closest are kazakh"):
        find_run("kazak")
    with pytest.raises(RunError, match=r"'kazakh' is ambiguous: .*; give more of its id") as caught:
        find_run("kazakh")
    assert first.id in str(caught.value) and second.id in str(caught.value)
    with pytest.raises(RunError, match="'20' is ambiguous"):
        find_run("20")
    with pytest.raises(RunError, match=r"is not a run folder: it has no plan\.json"):
        find_run(str(tmp_path))
    with pytest.raises(RunError, match="'no/where' does not exist; the latest is"):
        find_run("no/where")


def test_damaged_and_half_created_folders_are_listed_not_raised(plan, staff_home):
    no_status, bad_status, bad_plan, empty = (create_run(plan) for _ in range(4))
    (no_status.folder / STATUS_FILE).unlink()
    (bad_status.folder / STATUS_FILE).write_bytes(b'{"state": "run\xff')
    (bad_plan.folder / "plan.json").write_text('{"plan": {"strata": -1}}')
    for path in empty.folder.iterdir():
        path.unlink()
    (staff_home / "runs" / "stray.txt").touch()
    (staff_home / "runs" / ".half.part").mkdir()
    assert len(list_runs()) == 4
    for run, wrong in (
        (no_status, "status.json cannot be read: No such file"),
        (bad_status, "status.json is damaged"),
    ):
        status = read_status(run)
        assert status.state == "interrupted" and wrong in status.message, "it can be resumed"
    for run, wrong in (
        (bad_plan, "plan.json is damaged"),
        (empty, "plan.json cannot be read"),
    ):
        status = read_status(run)
        assert status.state == "damaged" and wrong in status.message
        with pytest.raises(RunError, match="is damaged"):
            control.resume(run)
    for run in (no_status, bad_status):
        control.delete(run)
    for run in (bad_plan, empty):  # nothing says that they are runs
        with pytest.raises(RunError, match=r"may not be a run: .*plan.json .*; remove the folder yourself"):
            control.delete(run)
    assert {run.id for run in list_runs()} == {bad_plan.id, empty.id}


def test_only_a_run_in_the_runs_folder_is_deleted(plan, staff_home, tmp_path):
    run = create_run(plan)
    elsewhere = tmp_path / "project"
    shutil.copytree(run.folder, elsewhere)
    (elsewhere / "thesis.txt").write_text("years of work")
    link = staff_home / "runs" / "linked"
    link.symlink_to(elsewhere)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "plan.json").write_text('{"pruning_rate": 0.9}')
    for folder in (elsewhere, link, tmp_path / "own", tmp_path):
        with pytest.raises(RunError, match=r"is not in the runs folder .*; only runs in it can be deleted"):
            control.delete(Run(folder.name, folder))
    assert (elsewhere / "thesis.txt").read_text() == "years of work" and link.is_symlink()
    assert (tmp_path / "own" / "plan.json").exists()
    control.delete(find_run(str(run.folder)))
    assert not run.folder.exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 700])
def test_a_status_that_was_lost_with_the_power_is_an_interrupted_run_that_can_be_resumed(run, content):
    save_status(run.folder, Status(state="running", pid=2**22 + 1, pid_started=1.0))
    (run.folder / STATUS_FILE).write_bytes(content)
    status = read_status(run)
    assert (status.state, status.message) == ("interrupted", "the machine lost power")
    control.resume(run, worker=fake_worker("finish"))
    assert wait_for_state(run, "finished", "failed").state == "finished"


def test_a_home_that_cannot_be_written_is_named(plan, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "file"))
    with pytest.raises(RunError, match=r"cannot be written: .*; set STAFF_HOME to use another folder"):
        create_run(plan)


def test_the_home_is_the_users_data_folder_unless_said_otherwise(monkeypatch, staff_home):
    assert home() == staff_home
    monkeypatch.delenv("STAFF_HOME")
    assert home().name == "staff-studio"


def test_a_run_of_an_upload_is_named_after_its_file(plan):
    upload = keep_upload("Train set.jsonl", b"{}")
    record = control.read_record(create_run(plan.but(dataset=str(upload))))
    assert record.name == "train-set-llama-nano"
    assert record.plan.dataset == str(upload)


def test_a_run_can_be_renamed(run):
    control.rename(run, " better ")
    assert read_record(run).name == "better"
    assert find_run("better") == run
    with pytest.raises(RunError, match=r"name of a run is '' \(0 characters\); allowed: 1 to 100"):
        control.rename(run, " ")


# Processes


def test_a_started_run_works_by_itself_and_writes_its_output_to_the_log(run):
    start(run, worker=fake_worker("finish"))
    status = wait_for_state(run, "finished", "failed", "interrupted")
    assert (status.state, status.done) == ("finished", 1000)
    assert status.pid != os.getpid()
    assert "it speaks" in run.log.read_text()


def test_a_process_is_no_child_of_the_terminal_and_a_second_one_is_refused(run):
    start(run, worker=fake_worker("attentive"))
    pid = wait_for_state(run, "running").pid
    assert os.getsid(pid) == pid and os.getpgid(pid) == pid
    for action in (start, control.resume):
        with pytest.raises(RunError, match=rf"is already running \(process {pid}\)"):
            action(run)
    with pytest.raises(RunError, match=rf"is running \(process {pid}\); cancel it first"):
        control.delete(run)
    assert control.cancel(run).state == "cancelled"
    assert (run.folder / CANCEL_FILE).exists()
    control.resume(run, worker=fake_worker("finish"))
    assert not (run.folder / CANCEL_FILE).exists()
    assert wait_for_state(run, "finished", "failed").state == "finished"
    control.delete(run)
    assert list_runs() == [] and not list(run.folder.parent.iterdir())


def test_a_killed_process_leaves_an_interrupted_run_that_can_be_resumed(run):
    start(run, worker=fake_worker("attentive"))
    pid = wait_for_state(run, "running").pid
    os.kill(pid, signal.SIGKILL)
    status = wait_for_state(run, "interrupted")
    assert status.message == f"process {pid} is gone" and status.exit_code == 1
    control.resume(run, worker=fake_worker("finish"))
    wait_for_state(run, "finished")


def test_a_process_that_dies_at_once_leaves_an_interrupted_run(run):
    start(run, worker=(sys.executable, "-c", "raise SystemExit('broken installation')"))
    wait_for_state(run, "interrupted")
    assert "broken installation" in run.log.read_text()


def test_sigterm_from_outside_unwinds_and_interrupts(run):
    start(run, worker=fake_worker("busy"))
    os.kill(wait_for_state(run, "running").pid, signal.SIGTERM)
    assert "SIGTERM" in wait_for_state(run, "interrupted").message


def test_cancel_ends_a_process_that_does_not_read_the_flag(run):
    start(run, worker=fake_worker("busy"))
    status = wait_for_state(run, "running")
    assert control.cancel(run, grace=0).state == "cancelled"
    assert not processes.is_alive(status.pid, status.pid_started)


def test_cancel_kills_the_group_of_a_process_that_minds_nothing(run):
    start(run, worker=fake_worker("deaf"))
    wait_for(lambda: read_status(run).message)
    status = read_status(run)
    child = psutil.Process(int(status.message))
    control.request_cancel(run)
    processes.stop_process(status.pid, status.pid_started, grace=0, last_grace=0.2)
    assert read_status(run).state == "cancelled"
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_second_process_on_the_same_run_is_refused_and_changes_nothing(run, monkeypatch):
    start(run, worker=fake_worker("attentive"))
    pid = wait_for_state(run, "running").pid
    monkeypatch.setattr(worker, "LEAVING_SECONDS", 0.1)
    with pytest.raises(RunError, match="another process already works on run"), working(run):
        pass
    status = read_status(run)
    assert (status.state, status.pid) == ("running", pid)


def test_a_never_started_run_can_be_cancelled_resumed_and_deleted(plan):
    run = create_run(plan)
    assert control.cancel(run).state == "cancelled"
    control.resume(run, worker=fake_worker("finish"))
    wait_for_state(run, "finished")
    other = create_run(plan)
    control.delete(other)
    assert list_runs() == [run]


def test_verifying_needs_scores_and_its_settings_reach_the_process(run):
    with pytest.raises(RunError, match="does not have all scores yet; it must finish first"):
        start(run, verify={"strata": 7})
    (run.folder / "summary.json").write_text("{}")
    start(run, verify={"strata": 7}, worker=fake_worker("finish"))
    wait_for_state(run, "finished")
    assert read_status(run).verify == {"strata": 7}


def test_a_worker_that_cannot_be_started_is_named(run):
    with pytest.raises(RunError, match=r"cannot be started: .*no-such-program"):
        start(run, worker=("no-such-program",))
    assert read_status(run).state == "queued"
    with pytest.raises(PlanError):
        read_record(run).plan.but(strata=0)


def test_a_process_that_takes_over_a_run_is_refused_what_a_started_one_is(run, plan, monkeypatch):
    monkeypatch.setenv("STAFF_QUOTA_RUNS", "1")
    own = {"pid": os.getpid(), "pid_started": processes.start_time(os.getpid())}
    save_status(create_run(plan).folder, Status(state="running", **own))
    with pytest.raises(StaffError, match="1 of your runs wait or work; allowed: 1 at once"):
        control.take_over(run)
    assert read_status(run).pid is None
    monkeypatch.delenv("STAFF_QUOTA_RUNS")
    control.take_over(run)
    assert read_status(run).pid == os.getpid()


def test_several_processes_do_not_share_a_target_that_is_spread_over_gpus(plan, monkeypatch):
    run = create_run(plan.but(device_map="auto"))
    with pytest.raises(RunError, match=r"device_map of run .* is 'auto', which is for one process.* is 2"):
        start(run, processes=2)
    monkeypatch.setattr(control, "size", lambda: 2)
    with pytest.raises(RunError, match="which is for one process; processes is 2"):
        control.take_over(run)
    assert read_status(run).pid is None
