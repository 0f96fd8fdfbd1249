"""What the command line shows of a run at work, and of its end."""

import io
import re

import pytest
from rich.console import Console

from staff_engine.cli import progress
from staff_engine.runs.results import open_results
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


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7380, "2 h 03 min"),
    ],
)
def test_durations_are_said_in_words(seconds, words):
    assert progress.duration(seconds) == words


def test_the_closing_table_says_what_the_target_was_tuned_on_and_how_long_that_took(run):
    results = open_results(run.folder)
    said = []
    for tuned in (0, 1200):
        console = Console(width=120, record=True, file=io.StringIO())
        summary = {**results.summary, "tuned": tuned}
        console.print(progress.summary_table(summary, {**results.timings, "tune target": 4.2}))
        said.append(console.export_text())
    assert "target tuned on" not in said[0]
    assert re.search("target tuned on +1,200\n", said[1])
    assert re.search("time of tune target +4.2 s\n", said[1])


def test_the_closing_table_holds_the_run_against_scores_by_a_tuned_target(run):
    summary = {
        **open_results(run.folder).summary,
        "full_target_seconds_estimate": 40.0,
        "small_scoring_seconds": 5.0,
    }
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(progress.summary_table(summary, {"fine-tune": 30.0, "speculate": 6.0, "verify": 6.0}))
    said = console.export_text()
    assert re.search("scoring everything on the target [^0-9]+ 40 s\n", said)
    assert re.search("fine-tuning it before that [^0-9]+ 4 min 00 s\n", said)
    assert re.search("selection overhead: this run, of these two +15%\n", said)


@pytest.mark.parametrize(("share", "words"), [(0.534, "53%"), (0, "None"), (-1.15, "None"), (None, "?")])
def test_a_share_that_is_saved_is_never_below_nothing(share, words):
    assert progress.saved_share(share) == words


def test_the_closing_table_says_it_and_the_advice(run):
    results = open_results(run.folder)
    trust = {"word": "low", "sentence": "They do not agree.", "advice": ["Take another."]}
    console = Console(width=120, record=True, file=io.StringIO())
    progress.print_summary(
        {"summary": {**results.summary, "trust": trust}, "timings": results.timings}, console
    )
    said = console.export_text()
    assert "trust in the small model" in said
    assert "They do not agree.\n- Take another." in said


def test_the_closing_table_says_which_number_format_was_taken_and_why(run):
    results = open_results(run.folder)
    chosen = {"dtype": "float32", "dtype_chosen": "The models use float32: 9 samples are too few."}
    console = Console(width=120, record=True, file=io.StringIO())
    progress.print_summary({"summary": {**results.summary, **chosen}, "timings": results.timings}, console)
    said = console.export_text()
    assert re.search("number format +float32\n", said)
    assert chosen["dtype_chosen"] in said
