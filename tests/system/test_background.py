"""Background jobs: started once for a question, found again by its key, and the newest kept."""

import json
import os
import signal
import sys
import threading
import time
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

from staff_engine.system import background
from staff_engine.system.background import Jobs, key_of, make_folder, read, save, start, state_of, stop
from staff_engine.system.processes import is_alive, start_time

ENDLESS = (sys.executable, "-c", "import time; time.sleep(60)")


class Sum(BaseModel):
    """The state of a job of these tests."""

    model_config = ConfigDict(frozen=True)

    state: Literal["adding", "done", "failed"] = "adding"
    message: str = ""
    pid: int | None = None
    pid_started: float | None = None


JOBS = Jobs("sums", "sum.json", Sum, at_work="adding")
DONE = Sum(state="done")
FAILED = Sum(state="failed", message="no")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of the test's own; what still runs at the end is stopped."""
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    for folder in (tmp_path / "home" / "sums").glob("*"):
        state = read(JOBS, folder.name)
        if state is not None and state.pid != os.getpid():
            stop(JOBS, folder.name)


def begin(key="a", command=ENDLESS, wanted=lambda known: False, kept=40):
    start(
        JOBS, key, command, kept=kept, wanted=wanted,
        begun=lambda pid, started: Sum(pid=pid, pid_started=started),
    )  # fmt: skip


def write(key, state, kept=40):
    make_folder(JOBS, key, kept=kept)
    return save(JOBS, key, state)


def own_process():
    return Sum(pid=os.getpid(), pid_started=start_time(os.getpid()))


# Keys


def test_a_key_depends_on_everything_it_is_made_of_and_on_nothing_else():
    keys = {key_of([1, {"limit": 5}, [3, 4]]), key_of([2, {"limit": 5}, [3, 4]]), key_of([1, {"limit": 6}])}
    assert len(keys) == 3
    assert key_of([1, {"limit": 5}, (3, 4)]) in keys
    assert {len(key) for key in keys} == {24}


def test_the_state_of_files_is_their_size_and_the_newest_time(tmp_path):
    for name, content, moment in (("a", "12", 1000), ("b", "345", 2000)):
        (tmp_path / name).write_text(content)
        os.utime(tmp_path / name, ns=(moment, moment))
    assert state_of(tmp_path.iterdir()) == (5, 2000)
    assert state_of([tmp_path / "a"]) == (2, 1000)
    assert state_of([]) == (0, 0)
    assert state_of([tmp_path / "a", tmp_path / "gone"]) is None


# States


def test_a_job_that_nobody_asked_for_is_none(home):
    assert read(JOBS, "a") is None
    assert not home.exists()


def test_a_damaged_state_file_is_no_job():
    write("a", DONE)
    (JOBS.folder("a") / "sum.json").write_text('{"state": "resting"}')
    assert read(JOBS, "a") is None


@pytest.mark.parametrize("state", [DONE, FAILED])
def test_what_has_ended_is_read_as_it_was_written(state):
    write("a", state.model_copy(update={"pid": 2**22 + 1, "pid_started": 1.0}))
    assert read(JOBS, "a").state == state.state


def test_a_living_process_is_at_work_and_a_dead_one_has_failed_with_its_last_line():
    write("a", own_process())
    assert read(JOBS, "a").state == "adding"
    write("a", Sum(pid=2**22 + 1, pid_started=1.0))
    assert read(JOBS, "a").message == "the process ended before the job was done"
    (JOBS.folder("a") / "log.txt").write_text(f"first\n{'x' * 500}\n\n")
    assert read(JOBS, "a") == Sum(
        state="failed",
        message=f"the process ended before the job was done: {'x' * 300}",
        pid=2**22 + 1,
        pid_started=1.0,
    )


def test_a_process_that_ends_between_two_looks_has_not_failed(monkeypatch):
    write("a", own_process())

    def ends(pid, started):
        save(JOBS, "a", DONE)
        return False

    monkeypatch.setattr(background, "is_alive", ends)
    assert read(JOBS, "a") == DONE


# Starting and stopping


def test_a_job_at_work_is_not_started_again_even_where_that_is_wanted():
    begin()
    first = read(JOBS, "a")
    assert is_alive(first.pid, first.pid_started)
    begin(wanted=lambda known: True)
    assert read(JOBS, "a") == first


@pytest.mark.parametrize(("ended", "again"), [(DONE, False), (FAILED, True)])
def test_a_job_that_has_ended_is_started_again_where_that_is_wanted(ended, again):
    write("a", ended)
    begin(wanted=lambda known: known.state == "failed")
    assert (read(JOBS, "a").state == "adding") == again


def test_two_that_ask_at_once_start_one_process(monkeypatch):
    begun = []
    plain = background.start_in_background

    def watched(command, *, log):
        begun.append(command)
        time.sleep(0.2)  # both have looked by then
        return plain(command, log=log)

    monkeypatch.setattr(background, "start_in_background", watched)
    asking = [threading.Thread(target=begin) for _ in range(2)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert begun == [ENDLESS]


def test_a_job_that_another_process_holds_is_left_to_it(monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr(background, "LOCK_SECONDS", 0)
    folder = make_folder(JOBS, "a", kept=40)
    with FileLock(folder / background.LOCK_FILE):
        begin()
    assert read(JOBS, "a") is None


def test_the_process_has_the_home_and_writes_its_output_to_the_log(home):
    begin(command=(sys.executable, "-c", "import os, sys; print('at', os.environ['STAFF_HOME'])"))
    deadline = time.monotonic() + 60
    while read(JOBS, "a").state == "adding":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert read(JOBS, "a").message == f"the process ended before the job was done: at {home}"


def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(OSError, match="no-such-program"):
        begin(command=("no-such-program",))
    assert read(JOBS, "a") is None


def test_a_stopped_job_has_no_process_and_is_forgotten():
    begin()
    running = read(JOBS, "a")
    stop(JOBS, "a")
    assert not JOBS.folder("a").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)


@pytest.mark.parametrize("state", [DONE, FAILED])
def test_stopping_a_job_that_has_ended_keeps_it(state):
    write("a", state)
    stop(JOBS, "a")
    assert read(JOBS, "a") == state
    stop(JOBS, "never asked for")


# Pruning


def test_the_newest_jobs_stay_and_those_at_work(home):
    write("at work", own_process())
    for key in "abcd":
        write(key, DONE)
    for age, key in enumerate(["at work", "a", "b", "c", "d"]):
        os.utime(JOBS.folder(key), (age, age))
    write("new", DONE, kept=3)
    assert {path.name for path in (home / "sums").iterdir()} == {"at work", "c", "d", "new"}


def test_the_job_that_is_made_stays_however_few_are_kept(home):
    write("a", DONE)
    write("b", DONE, kept=0)
    assert [path.name for path in (home / "sums").iterdir()] == ["b"]


def test_files_of_an_older_version_go_as_jobs_do(home):
    (home / "sums").mkdir(parents=True)
    (home / "sums" / "old.json").write_text(json.dumps({}))
    write("a", DONE, kept=0)
    assert [path.name for path in (home / "sums").iterdir()] == ["a"]


def test_settings_become_options():
    assert background.as_options({"dataset": "a b", "prompt_column": "p"}) == [
        "--dataset=a b",
        "--prompt-column=p",
    ]
