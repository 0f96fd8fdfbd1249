"""The command line: help, wrong input and exit codes; `status`, `list`, `delete` and `inspect`."""

import io
import json
import re

import pytest

from staff_engine.cli.main import main
from staff_engine.cli.options import PANELS
from staff_engine.data.formats import FORMATS
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.control import create_run, list_runs, read_record
from tests.helpers.made_cli import NEEDED, SCORED, assert_wrong_input

pytestmark = pytest.mark.usefixtures("staff_home")


def test_every_setting_of_the_plan_is_an_option_of_run_with_its_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert sorted(sum(PANELS.values(), ())) == sorted(Plan.model_fields)
    assert main(["run", "--help"]) == 0
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    for name, field in Plan.model_fields.items():
        assert f"--{name.replace('_', '-')} " in text
        assert " ".join(field.description.split()) in text
    assert "At least 0, below 1. Default: 0.9." in text
    assert "At least 1, at most 10,000. Default: 50." in text


@pytest.mark.parametrize(
    "command", ["select", "verify", "resume", "cancel", "status", "list", "delete", "export", "compare"]
)
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_only_a_command_that_reads_plan_files_says_so(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for command, said in (("run", True), ("forecast", True), ("inspect", False), ("similarity", False)):
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert "Required" in text
        assert ("here or in --plan" in text) == ("--plan " in text) == said


def test_the_formats_are_named_where_one_is_asked_for():
    assert all(name in Plan.model_fields["format"].description for name in FORMATS)


def test_without_a_command_the_help_is_shown_and_the_worker_is_hidden(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "select" in said and not re.search(r"^\W*work\s", said, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["--pruning-rate", "1"], r"pruning_rate is '1': input should be less than 1"),
        (["--strata", "many"], r"strata is 'many': input should be a valid integer"),
        (
            ["--allocation", "best"],
            r"allocation is 'best': input should be 'paper', 'normalized' or 'proportional'",
        ),
        (
            ["--prompt-column", "q"],
            r"give both prompt_column .* and response_column, or neither",
        ),
        (["--export-format", "xml", "--out", "x"], r"unknown export format 'xml'; allowed: jsonl, json"),
        (["--small", "builtin:none"], r"unknown built-in model 'builtin:none'; available: "),
        (["--strata"], r"Option '--strata' requires an argument"),
        (["--shards", "2"], r"No such option: --shards"),
        (["--plan", "nowhere.json"], r"plan file 'nowhere.json' cannot be read: No such file"),
        (["--out", "nowhere/out.jsonl"], r"the folder .*nowhere does not exist"),
        (["--out", "."], r"is a folder"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_before_anything_is_written(arguments, line, data, capsys):
    assert_wrong_input(["run", "--dataset", str(data), *NEEDED, *arguments], line, capsys)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["inspect", "a.jsonl"], "unexpected argument 'a.jsonl'; give the data with --dataset"),
        (["run", "a.jsonl"], "unexpected argument 'a.jsonl'; give the data with --dataset"),
        (["list", "mine"], "unexpected argument 'mine'; see python -m staff_engine list --help"),
    ],
)
def test_an_argument_too_many_says_what_to_do(arguments, line, capsys):
    assert_wrong_input(arguments, line, capsys)


def test_missing_settings_are_named(capsys):
    assert_wrong_input(["run"], "dataset is missing; small is missing; target is missing", capsys)


def test_the_data_set_is_not_overwritten_by_its_coreset(data, capsys):
    assert_wrong_input(
        ["run", "--dataset", str(data), *NEEDED, "--out", str(data)], "the data set itself", capsys
    )


def test_a_folder_that_cannot_be_written_to_is_refused(data, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tests may run as root
    assert_wrong_input(
        ["run", "--dataset", str(data), *NEEDED, "--out", "out.jsonl"], "cannot be written to", capsys
    )


@pytest.mark.parametrize("command", ["select", "verify", "resume", "cancel", "status", "delete"])
def test_an_unknown_run_is_named(command, capsys):
    assert_wrong_input([command, "nope"], "run 'nope' does not exist; there are none in", capsys)


def test_an_unexpected_error_is_one_line_unless_debugging(monkeypatch, capsys):
    def fail() -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(control, "list_runs", fail)
    assert main(["list"]) == 1
    assert capsys.readouterr().err == "error: ZeroDivisionError: by zero (--debug shows the traceback)\n"
    with pytest.raises(ZeroDivisionError):
        main(["list", "--debug"])


def test_inspect_ends_with_2_if_no_row_can_be_used(tmp_path, staff_home, capsys):
    source = tmp_path / "a.jsonl"
    source.write_text('{"prompt": "p", "completion": ""}\n' * 3)
    assert main(["inspect", "--dataset", str(source)]) == 2
    said = capsys.readouterr()
    assert "3 rows cannot be used: no response (lines 1, 2, 3)" in said.out
    assert "has no usable row" in said.err


def test_status_and_list_show_runs_also_damaged_ones(scored, capsys):
    damaged = create_run(read_record(scored).plan)
    (damaged.folder / "plan.json").write_text("{")
    assert main(["status", "scored"]) == 0
    said = capsys.readouterr().out
    assert scored.id in said and "finished" in said and "coreset size m" in said
    assert main(["status", damaged.id]) == 0
    assert "damaged" in capsys.readouterr().out
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert "finished" in said and "damaged" in said


def test_status_and_list_as_json(scored, capsys):
    assert main(["list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert main(["status", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert listed == facts
    assert (facts["run_id"], facts["state"], facts["name"]) == (scored.id, "finished", "scored")
    assert facts["summary"] == SCORED and facts["plan"]["strata"] == 5


def test_an_empty_list_says_where_it_looked(capsys, staff_home):
    assert main(["list"]) == 0
    assert capsys.readouterr().out == f"no runs in {staff_home / 'runs'}\n"


def test_delete_asks_first(scored, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert main(["delete", "scored"]) == 0
    assert list_runs() == [scored]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["delete", "scored"]) == 1
    assert list_runs() == [scored]
    assert main(["delete", "scored", "--yes"]) == 0
    assert list_runs() == []


@pytest.mark.parametrize("command", ["run", "verify", "compare", "trajectory", "similarity"])
def test_torchrun_does_not_start_a_run_in_each_of_its_processes(command, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    needed = ["--dataset", "builtin:docstrings", *NEEDED] if command == "run" else ["latest"]
    assert_wrong_input([command, *needed], "start resume with torchrun", capsys)
