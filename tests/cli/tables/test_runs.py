"""What the command line shows of a run at its end, and of all runs."""

import io
import re

import pytest
from rich.console import Console

from staff_engine.cli.tables import runs
from staff_engine.runs.results import open_results
from staff_engine.runs.summary import SummaryTrust
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    return make_finished_run(tmp_path)


def test_the_closing_table_says_what_the_target_was_tuned_on_and_how_long_that_took(run):
    results = open_results(run.folder)
    said = []
    for tuned in (0, 1200):
        console = Console(width=120, record=True, file=io.StringIO())
        summary = results.summary.model_copy(update={"tuned": tuned})
        console.print(runs.summary_table(summary, {**results.timings, "tune target": 4.2}))
        said.append(console.export_text())
    assert "target tuned on" not in said[0]
    assert re.search("target tuned on +1,200\n", said[1])
    assert re.search("time of tune target +4.2 s\n", said[1])


def test_the_closing_table_holds_the_run_against_scores_by_a_tuned_target(run):
    seconds = {"full_target_seconds_estimate": 40.0, "small_scoring_seconds": 5.0}
    summary = open_results(run.folder).summary.model_copy(update=seconds)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(runs.summary_table(summary, {"fine-tune": 30.0, "speculate": 6.0, "verify": 6.0}))
    said = console.export_text()
    assert re.search("scoring everything on the target [^0-9]+ 40 s\n", said)
    assert re.search("fine-tuning it before that [^0-9]+ 4 min 00 s\n", said)
    assert re.search("selection overhead: this run / these two +15%\n", said)


def test_the_closing_table_says_it_and_the_advice(run):
    results = open_results(run.folder)
    trust = SummaryTrust(word="low", sentence="They do not agree.", advice=("Take another.",))
    console = Console(width=120, record=True, file=io.StringIO())
    summary = results.summary.model_copy(update={"trust": trust})
    runs.print_summary(summary, results.timings, console)
    said = console.export_text()
    assert "reliability of the small model" in said
    assert "They do not agree.\n- Take another." in said


def test_the_closing_table_says_which_number_format_was_taken_and_why(run):
    results = open_results(run.folder)
    chosen = {"dtype": "float32", "dtype_chosen": "The models work in float32: 9 samples are too few."}
    console = Console(width=120, record=True, file=io.StringIO())
    runs.print_summary(results.summary.model_copy(update=chosen), results.timings, console)
    said = console.export_text()
    assert re.search("number format +float32\n", said)
    assert chosen["dtype_chosen"] in said


def test_the_closing_table_says_from_when_on_the_selection_pays_off(run):
    seconds = {"full_target_seconds_estimate": 40.0, "small_scoring_seconds": 5.0}
    before = open_results(run.folder).summary
    said = []
    for share in (0.1, None):
        console = Console(width=120, record=True, file=io.StringIO())
        summary = before.model_copy(update={**seconds, "token_share": share})
        console.print(runs.summary_table(summary, {"fine-tune": 30.0, "speculate": 210.0}))
        said.append(console.export_text())
    assert re.search("fine-tuning it on the coreset [^0-9]+ 24 s\n", said[0])
    assert re.search("the selection +pays off from 2 fine-tunings on\n", said[0])
    assert "pays off" not in said[1]  # a run of an older version


def test_the_closing_table_counts_near_duplicates_only_if_some_are_left_out(run):
    results = open_results(run.folder)
    said = []
    for left_out in (0, 3):
        console = Console(width=120, record=True, file=io.StringIO())
        summary = results.summary.model_copy(update={"near_duplicates": left_out})
        console.print(runs.summary_table(summary, results.timings))
        said.append(console.export_text())
    assert "near duplicates" not in said[0]
    assert re.search("near duplicates left out +3\n", said[1])
