"""What the command line shows of a run at work."""

import io
import re

import pytest
from rich.console import Console

from staff_engine.cli import progress
from staff_engine.runs.status import StageStatus, Status
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    return make_finished_run(tmp_path)


def test_a_terminal_shows_a_bar_for_each_stage(run, monkeypatch):
    stages = (
        StageStatus(name="import", done=60, unit="rows", seconds=0.5),
        StageStatus(name="speculate", done=30, total=60, seconds=12.3),
    )
    at_work = Status(state="running", stage="speculate", rate=2.5, eta=12.0, stages=stages)
    seen = iter([Status(message="waits"), at_work, at_work.model_copy(update={"state": "cancelled"})])
    monkeypatch.setattr(progress, "read_status", lambda run: next(seen))
    monkeypatch.setattr(progress, "POLL_SECONDS", 0)
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    assert progress.follow(run, console).state == "cancelled"
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue()).splitlines()[-2:]
    assert last[0].split()[0] == "import" and "60 rows" in last[0] and "0.5 s" in last[0]
    assert last[1].split()[0] == "speculate" and "30 of 60 samples" in last[1] and "12 s" in last[1]


def test_without_a_terminal_a_long_stage_says_now_and_then_how_far_it_is(run, monkeypatch):
    stage = StageStatus(name="speculate", done=30, total=60, seconds=12.3)
    at_work = Status(state="running", stage="speculate", unit="samples", rate=2.5, eta=12.0, stages=(stage,))
    seen = iter([Status(message="waits"), at_work, at_work, at_work.model_copy(update={"state": "finished"})])
    monkeypatch.setattr(progress, "read_status", lambda run: next(seen))
    monkeypatch.setattr(progress, "POLL_SECONDS", 0)
    clock = iter([0, 0, 10, 70, 71, 72])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), width=120)
    progress.follow(run, console)
    assert [" ".join(line.split()) for line in console.file.getvalue().splitlines()] == [
        "queued waits",
        "speculate 30 of 60 samples 2.5 samples/s, about 12 s left",
        "speculate 30 of 60 samples 12 s",
    ]
