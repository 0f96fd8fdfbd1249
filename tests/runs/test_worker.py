"""The process of a run, seen from inside: what it writes of its state, its stages and its end."""

import logging
import os
import time
import warnings

import pytest

from staff_engine.errors import DatasetError, RunError
from staff_engine.plan import Plan
from staff_engine.runs import control, progress, stages
from staff_engine.runs.control import create_run, read_status
from staff_engine.runs.progress import Cancelled, Reporter
from staff_engine.runs.status import StageStatus, Status, load_status, save_status
from staff_engine.runs.worker import working
from staff_engine.system import calls, team
from staff_engine.system.files import read_checked

PATIENCE = 60.0


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return create_run(
        Plan.make(dataset="builtin:docstrings", small="builtin:llama-nano", target="builtin:llama-mini")
    )


def test_work_that_ends_well_is_finished_and_its_stages_are_timed(run):
    with working(run) as work:
        assert read_status(run).state == "running"
        assert read_status(run).pid == os.getpid()
        work.stage(stages.IMPORT)
        work.advance(7)
        work.stage(stages.SPECULATE, 20)
        work.advance(20)
    status = read_status(run)
    assert (status.state, status.exit_code, status.stage) == ("finished", 0, "speculate")
    assert [(s.name, s.done, s.total, s.unit) for s in status.stages] == [
        ("import", 7, 0, "rows"),
        ("speculate", 20, 20, "samples"),
    ]
    timings = read_checked(run.folder / "timings.json")
    assert timings == {stage.name: stage.seconds for stage in status.stages}


def test_status_follows_the_work_with_rate_and_time_left(run, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    work = Reporter(run.folder)
    work.stage(stages.VERIFY, 100)
    for _ in range(3):
        work.advance(10)
    status = load_status(run.folder)
    assert (status.stage, status.done, status.total) == ("verify", 30, 100)
    assert status.rate == pytest.approx(20 / (status.stages[0].seconds - 3), rel=1)
    assert status.eta == pytest.approx(70 / status.rate)


def test_status_is_not_written_at_every_batch(run, monkeypatch):
    written = []
    monkeypatch.setattr(
        progress, "save_status", lambda folder, status, durable: written.append(durable) or status
    )
    work = Reporter(run.folder)
    work.stage(stages.SPECULATE, 1000)
    begin = time.monotonic()
    for _ in range(1000):
        work.advance()
    assert 1 <= len(written) <= 2 + (time.monotonic() - begin) / progress.WRITE_SECONDS


def test_states_and_stages_are_flushed_to_the_disk_and_progress_inside_a_stage_is_not(run, monkeypatch):
    written = []
    monkeypatch.setattr(
        progress, "save_status", lambda folder, status, durable: written.append(durable) or status
    )
    monkeypatch.setattr(progress, "WRITE_SECONDS", 0)
    work = Reporter(run.folder)
    work.state("running")
    work.stage(stages.SPECULATE, 10)
    work.advance()
    work.message("hard at it")
    work.state("finished")
    assert written == [True, True, False, False, True]


def test_seconds_of_a_stage_add_up_over_resumes(run):
    save_status(
        run.folder,
        Status(stages=(StageStatus(name="import", seconds=2), StageStatus(name="tokenize", seconds=5))),
    )
    with working(run) as work:
        work.stage(stages.TOKENIZE, 10, done=4)
        work.advance(6)
    timings = read_checked(run.folder / "timings.json")
    assert list(timings) == ["import", "tokenize"]
    assert timings["import"] == 2 and 5 <= timings["tokenize"] < 5 + PATIENCE
    assert load_status(run.folder).done == 10


def test_a_wrong_input_fails_the_run_with_its_line_and_the_traceback_in_the_log(run):
    with pytest.raises(DatasetError), working(run):
        raise DatasetError("line 3: 'response' is 4, should be text")
    status = read_status(run)
    assert (status.state, status.exit_code) == ("failed", 2)
    assert status.message == "line 3: 'response' is 4, should be text"
    assert "Traceback" in run.log.read_text()


def test_any_other_error_fails_the_run_with_one_line(run):
    with pytest.raises(ZeroDivisionError), working(run):
        raise ZeroDivisionError("by\nzero")
    assert (read_status(run).exit_code, read_status(run).message) == (1, "ZeroDivisionError: by zero")


def test_the_log_has_the_time_of_each_message_and_warnings_of_libraries_are_beside_it(run):
    with working(run):
        logging.getLogger("staff_engine.pipelines.coreset").info("reads the data")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("careful", stacklevel=1)
        logging.getLogger("some_library").error("broken")
    text = run.log.read_text()
    assert "INFO staff_engine.pipelines.coreset: reads the data" in text
    assert "ERROR some_library: broken" in text and "careful" not in text
    beside = (run.folder / "libraries.txt").read_text()
    assert "careful" in beside and "reads the data" not in beside
    assert all(line[:2] == "20" and line[10] == " " for line in text.splitlines() if " INFO " in line)
    logging.getLogger("staff_engine").info("after the run")
    assert "after the run" not in run.log.read_text()


@pytest.mark.parametrize("where", ["stage", "advance"])
def test_the_cancel_flag_stops_the_work_at_the_next_batch(run, where):
    with pytest.raises(Cancelled), working(run) as work:
        work.stage(stages.SPECULATE, 10)
        assert not work.cancelled
        control.request_cancel(run)
        assert work.cancelled
        work.stage(stages.VERIFY, 1) if where == "stage" else work.advance()
    assert read_status(run).state == "cancelled"


def test_cancelled_passes_through_code_that_catches_exceptions():
    assert not issubclass(Cancelled, Exception)


@pytest.mark.parametrize(
    ("failed", "state", "message", "code"),
    [
        (
            RunError("process 1 of the run failed: a sample does not fit"),
            "failed",
            "a sample does not fit",
            2,
        ),
        (calls.HelperFailed("process 1 of the run failed: ValueError: x"), "failed", "ValueError: x", 1),
        (None, "interrupted", "SIGTERM", 1),
    ],
)
def test_when_torchrun_ends_the_processes_the_state_says_what_a_helper_failed_of(
    run, monkeypatch, failed, state, message, code
):
    monkeypatch.setattr(calls, "failure", lambda: failed)
    with pytest.raises(SystemExit), working(run):
        raise SystemExit(143)
    status = read_status(run)
    assert (status.state, status.exit_code) == (state, code)
    assert message in status.message


def test_a_lost_process_interrupts_the_run(run):
    with pytest.raises(team.Lost), working(run):
        raise team.Lost("process 1 of the run (7 on gpu-07) is gone")
    status = read_status(run)
    assert (status.state, status.message) == ("interrupted", "process 1 of the run (7 on gpu-07) is gone")
