"""`compare --evaluate`: what it starts, adds to and refuses, and what the other commands make of it."""

import json

import pytest

from staff_engine.cli.main import main
from staff_engine.evaluation import run as evaluation_run
from staff_engine.evaluation.cells import cells_of, write_cell
from staff_engine.evaluation.report import FACTS_FILE, Facts
from staff_engine.runs import control
from staff_engine.runs.status import Status, save_status
from staff_engine.system.files import write_json
from tests.helpers.made_cells import MADE_WITH, cell
from tests.helpers.made_cli import assert_wrong_input
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def source(home, tmp_path):
    return make_finished_run(tmp_path, 200)


@pytest.fixture
def held_out(tmp_path):
    path = tmp_path / "held_out.jsonl"
    path.write_text('{"question": "q?", "answer": "a."}\n' * 3)
    return str(path)


@pytest.fixture
def started(monkeypatch):
    found = []
    monkeypatch.setattr(control, "start", lambda run, **_: found.append(run))
    return found


def start(source, held_out, *more):
    words = ["compare", source.id, "--evaluate", "--held-out", held_out, "--detach"]
    return main([*words, "--method", "staff", "--method", "random", *more])


def finish(run, *, losses=(2.0, 2.2, 2.1)):
    """Give an evaluation the cells that it asks for."""
    record = control.read_record(run)
    facts = Facts(
        made_with=MADE_WITH, metric="rouge-l", held_out=3, answers=3, samples=193,
        selection_seconds={"small": 3.0, "staff": 4.5},
    )  # fmt: skip
    write_json(run.folder / FACTS_FILE, facts.model_dump(mode="json"))
    for asked in cells_of(record.plan, record.evaluation):
        loss = losses[asked.seed % 3] + (asked.arm == "random") * 0.5
        write_cell(run.folder, cell(asked, loss=loss))
    save_status(run.folder, Status(state="finished", exit_code=0))


@pytest.mark.parametrize(
    ("method", "command"),
    [("s2l", "trajectory {} --checkpoints 10"), ("superfiltering", "verify {} --score ifd")],
)
def test_a_method_that_reads_what_the_run_has_not_measured_is_refused_at_once(
    source, held_out, started, capsys, method, command
):
    words = ["compare", source.id, "--evaluate", "--held-out", held_out, "--method", method]
    assert_wrong_input(words, command.format(source.id), capsys)
    assert started == []


def test_it_starts_a_run_of_its_own_kind_and_says_before_how_long_it_takes(source, held_out, started, capsys):
    words = ["--pruning-rate", "0.9", "--pruning-rate", "0.5", "--seeds", "2", "--seed", "7"]
    assert start(source, held_out, *words, "--answers", "5", "--budget", "both", "--name", "judged") == 0
    (run,) = started
    record = control.read_record(run)
    assert (record.kind, record.name) == ("evaluation", "judged")
    assert record.plan == control.read_record(source).plan.but(seed=7)
    found = record.evaluation
    assert (found.methods, found.pruning_rates, found.seeds) == (("staff", "random"), (0.9, 0.5), 2)
    assert (found.answers, found.budget, found.baseline_scores) == (5, "both", "small")
    assert (found.source, found.held_out) == (str(source.folder), held_out)
    said = capsys.readouterr().out
    assert said.startswith("19 cells to compute, about ")
    assert f"run {run.id} continues in the background" in said


def test_an_estimate_starts_nothing(source, held_out, started, capsys):
    before = control.list_runs()
    assert start(source, held_out, "--estimate") == 0
    assert "cells to compute" in capsys.readouterr().out
    assert (started, control.list_runs()) == ([], before)


def test_without_settings_the_runs_own_rate_and_three_seeds_are_taken(source, held_out, started):
    assert start(source, held_out) == 0
    found = control.read_record(started[0]).evaluation
    assert (found.pruning_rates, found.seeds, found.budget) == ((0.9,), 3, "epochs")


def test_an_evaluation_is_added_to(source, held_out, started, capsys):
    assert start(source, held_out) == 0
    (run,) = started
    finish(run)
    capsys.readouterr()
    more = ["--method", "grand", "--pruning-rate", "0.5", "--seeds", "2", "--budget", "steps"]
    assert main(["compare", run.id, "--evaluate", *more, "--detach"]) == 0
    assert started == [run, run]
    found = control.read_record(run).evaluation
    assert found.methods == ("staff", "random", "grand")
    assert (found.pruning_rates, found.seeds, found.budget) == ((0.9, 0.5), 3, "both")
    assert found.held_out == held_out
    planned = len(cells_of(control.read_record(run).plan, found))
    assert capsys.readouterr().out.startswith(f"{planned - 10} cells to compute, about ")


def test_a_further_run_joins_by_its_name_or_a_label(source, held_out, started):
    words = ["--also", f"tuned={source.id}", "--also", source.id]
    assert start(source, held_out, *words) == 0
    folder = str(source.folder)
    assert control.read_record(started[0]).evaluation.also == {"tuned": folder, "STAFF, made up": folder}


@pytest.mark.parametrize(
    "words, line",
    [
        (["--seeds", "0"], "seeds is 0"),
        (["--budget", "hours"], "budget is 'hours'"),
        (["--baseline-scores", "large"], "baseline_scores is 'large'"),
        (["--method", "best"], "method is 'best'; allowed: staff"),
        (["--pruning-rate", "1"], "pruning_rates.0 is 1.0"),
        (["--also", "nobody"], "run 'nobody' does not exist"),
        (["--also", "random=latest"], "label 'random' is already used"),
        (["--held-out", "/no/such/file.jsonl"], "/no/such/file.jsonl"),
        (["--json"], "--out and --json do not work with --evaluate"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(source, held_out, words, line, capsys):
    before = ["compare", source.id, "--evaluate", "--held-out", held_out, "--method", "staff"]
    assert_wrong_input([*before, *words], line, capsys)


def test_own_data_without_held_out_samples_is_refused(source, capsys):
    assert_wrong_input(["compare", source.id, "--evaluate"], "has no held-out split; give a file", capsys)


def test_options_of_evaluation_are_not_passed_over_without_it(source, capsys):
    for words in (["--seeds", "2"], ["--also", "a=b"], ["--name", "a"], ["--estimate"], ["--detach"]):
        line = f"{words[0]} needs --evaluate"
        assert_wrong_input(["compare", source.id, *words], line, capsys)


def test_an_evaluation_keeps_its_name_and_first_seed(source, held_out, started, capsys):
    start(source, held_out)
    capsys.readouterr()
    line = "has its name and first seed already"
    assert_wrong_input(["compare", started[0].id, "--evaluate", "--seed", "3"], line, capsys)


def test_its_process_makes_the_cells(source, held_out, started, monkeypatch):
    start(source, held_out)
    (run,) = started
    seen = []
    monkeypatch.setattr(evaluation_run, "execute", lambda folder, reporter: seen.append(folder))
    assert main(["work", str(run.folder)]) == 0
    assert seen == [run.folder]
    assert control.read_status(run).state == "finished"


def test_status_prints_the_table_and_has_it_as_json(source, held_out, started, capsys):
    start(source, held_out)
    (run,) = started
    assert main(["status", run.id]) == 0
    assert "held-out loss" not in capsys.readouterr().out
    finish(run)
    assert main(["status", run.id]) == 0
    said = capsys.readouterr().out
    assert "10 of 10 cells" in said and "STAFF" in said and "full data" in said
    assert "STAFF is better than random by held-out loss: the difference is -0.5" in said
    assert main(["status", run.id, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    rows = {row["arm"]: row for row in report["rows"]}
    assert rows["staff"]["loss_to_random"]["value"] == pytest.approx(-0.5)
    assert rows["nothing"]["loss"]["low"] is None
    assert rows["staff"]["selection_share"] == pytest.approx(0.5)


@pytest.mark.parametrize("command", ["select", "verify", "export", "compare"])
def test_there_is_no_coreset_in_it(command, source, held_out, started, tmp_path, capsys):
    start(source, held_out)
    capsys.readouterr()
    out = ["--out", str(tmp_path / "c.jsonl")] if command == "export" else []
    assert_wrong_input([command, started[0].id, *out], "evaluates coresets of another run; it has no", capsys)


def test_list_delete_and_latest_know_it(source, held_out, started, capsys):
    start(source, held_out)
    (run,) = started
    finish(run)
    capsys.readouterr()
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {each["run_id"] for each in listed} == {run.id, source.id}
    (found,) = [each for each in listed if each["run_id"] == run.id]
    assert found["evaluation"]["methods"] == ["staff", "random"]
    assert control.find_run("latest", kind="coreset") == source
    assert control.find_run("latest", kind="evaluation") == run
    assert main(["delete", run.id, "--yes"]) == 0
    assert control.list_runs() == [source]


def test_a_pilot_is_started_within_the_minutes_with_what_it_does_said_before(
    source, held_out, started, capsys
):
    words = ["compare", source.id, "--pilot", "--held-out", held_out, "--detach"]
    assert main([*words, "--minutes", "500"]) == 0
    (run,) = started
    record = control.read_record(run)
    assert record.name == f"pilot of {source.id}"
    found = record.evaluation
    assert (found.methods, found.seeds, found.answers, found.full_seeds) == (("staff", "random"), 10, 0, 0)
    assert "A pilot fine-tunes the target on STAFF's coreset" in capsys.readouterr().out
    assert main([*words, "--estimate"]) == 0
    assert len(started) == 1


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--seeds", "3"], "--seeds does not work with --pilot, which chooses its own settings"),
        (["--method", "ccs"], "--method does not work with --pilot"),
        (["--full-seeds", "0"], "--full-seeds does not work with --pilot"),
        (["--evaluate"], "--evaluate does not work with --pilot"),
        (["--minutes", "0"], "minutes is 0, allowed: at least"),
    ],
)
def test_a_pilot_refuses_settings_that_it_chooses_and_too_little_time(more, line, source, held_out, capsys):
    assert_wrong_input(["compare", source.id, "--pilot", "--held-out", held_out, *more], line, capsys)


def test_minutes_are_those_of_a_pilot(source, capsys):
    assert_wrong_input(["compare", source.id, "--minutes", "5"], "--minutes needs --pilot", capsys)
