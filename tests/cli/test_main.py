"""The command line: what is typed, what is said, and the exit code."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.cli.main import main
from staff_engine.cli.options import PANELS
from staff_engine.data.dataset import import_dataset
from staff_engine.data.formats import FORMATS
from staff_engine.errors import DatasetError
from staff_engine.pipelines import coreset as pipeline
from staff_engine.plan import Plan
from staff_engine.runs import control, stages
from staff_engine.runs.control import create_run, list_runs, read_record, read_status
from staff_engine.runs.results import open_results
from staff_engine.runs.status import Status, save_status
from staff_engine.system.files import write_json
from staff_engine.system.processes import start_time
from tests.helpers.damage import without
from tests.helpers.made_cli import NEEDED, ROWS, SUMMARY, assert_wrong_input, use_worker, write_data
from tests.helpers.made_run import make_finished_run, write_trajectory


@pytest.fixture(autouse=True)
def staff_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path)


SCORED = {**SUMMARY, "samples": ROWS, "verified": ROWS}


@pytest.fixture
def scored(data):
    """A run that has all its scores, made without a model."""
    return make_scored(data, ROWS, pruning_rate=0.5)


def make_scored(data, rows, **settings):
    run = create_run(
        Plan.make(dataset=str(data), small="small", target="target", strata=5, **settings), name="scored"
    )
    import_dataset(str(data), run.folder / "dataset")
    effort = np.linspace(1, 2, rows)
    columns = {"row_id": np.arange(rows), "effort": effort, "seconds": effort * 0}
    columns |= dict.fromkeys(("loss", "el2n", "entropy"), effort)
    columns |= {name: np.full(rows, 4) for name in ("prompt_tokens", "response_tokens")}
    for name in ("speculative", "verification"):
        (run.folder / name).mkdir()
        pq.write_table(pa.table(columns), run.folder / name / "part-00000.parquet")
    reasons = pa.table({"row_id": pa.array([], pa.int64()), "reason": pa.array([], pa.string())})
    pq.write_table(reasons, run.folder / "unscorable.parquet")
    write_json(run.folder / "summary.json", {**SCORED, "samples": rows, "verified": rows})
    write_json(run.folder / "timings.json", {"fine-tune": 30.0, "speculate": 6.0})
    save_status(run.folder, Status(state="finished", exit_code=0))
    return run


# Options and wrong input


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


# The process of a run


def test_work_carries_out_the_plan_and_writes_what_was_ordered(scored, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "execute", lambda folder, reporter: reporter.stage(stages.SELECT, 1))
    control.update_record(scored, delivery=control.Delivery(out=tmp_path / "core.jsonl"))
    assert main(["work", str(scored.folder)]) == 0
    assert read_status(scored).state == "finished"
    assert len((tmp_path / "core.jsonl").read_text().splitlines()) == ROWS // 2


def test_work_verifies_with_the_settings_it_was_started_with(scored, monkeypatch):
    seen = []
    monkeypatch.setattr(
        pipeline, "verify_missing", lambda folder, reporter, settings: seen.append((folder, settings))
    )
    save_status(scored.folder, Status(verify={"strata": 7}))
    assert main(["work", str(scored.folder)]) == 0
    assert seen == [(scored.folder, {"strata": 7})]


@pytest.mark.parametrize("error, code", [(DatasetError("no rows"), 2), (OSError("disk full"), 1)])
def test_work_that_fails_has_the_exit_code_of_its_error(scored, monkeypatch, error, code, capsys):
    def fail(folder, reporter):
        raise error

    monkeypatch.setattr(pipeline, "execute", fail)
    assert main(["work", str(scored.folder)]) == code
    assert (read_status(scored).state, read_status(scored).exit_code) == ("failed", code)


def test_work_that_is_cancelled_ends_with_1(scored, monkeypatch):
    def ask(folder, reporter):
        control.request_cancel(scored)
        reporter.stage(stages.IMPORT)

    monkeypatch.setattr(pipeline, "execute", ask)
    assert main(["work", str(scored.folder)]) == 1
    assert read_status(scored).state == "cancelled"


# select, verify, export


def test_select_writes_another_coreset_without_a_model(scored, tmp_path, data, capsys):
    out = tmp_path / "core.jsonl"
    assert main(["select", "scored", "--pruning-rate", "0.8", "--strata", "3", "--out", str(out)]) == 0
    written, lengths, price = capsys.readouterr().out.splitlines()
    assert price == "Selection took 36 s; the time to fine-tune the target is unknown."
    assert written == f"12 samples selected and written to {out}"
    assert (
        lengths
        == "48 response tokens: 20.0% of all, in 20.0% of the samples. Median length 4, in the data 4."
    )
    chosen = out.read_text().splitlines()
    assert len(chosen) == 12 and set(chosen) <= set(data.read_text().splitlines())
    assert (tmp_path / "core.jsonl.manifest.json").exists()


def test_select_says_everything_as_json(scored, capsys):
    assert main(["select", "scored", "--pruning-rate", "0.9", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["coreset_size"] == 6 == len(answer["row_ids"])
    assert answer["settings"] == {**answer["settings"], "pruning_rate": 0.9, "strata": 5}
    assert (answer["run_id"], answer["to_verify"], answer["warnings"]) == (scored.id, 0, [])


def test_select_says_when_the_result_is_provisional(scored, capsys):
    without(scored.folder, "verification")
    assert main(["select", "scored"]) == 0
    assert re.search(
        r"provisional: 50 more to verify on the target, about 5 s: \S+ -m staff_engine verify",
        capsys.readouterr().err,
    )


def test_select_needs_no_heavy_import(scored, tmp_path):
    code = (
        "import sys; from staff_engine.cli.main import main; "
        f"assert main(['select', 'scored', '--out', {str(tmp_path / 'core.jsonl')!r}]) == 0; "
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'scipy', 'peft', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", [["select"], ["verify"], ["export", "--out", "x.jsonl"]])
def test_scores_are_needed_first(command, data, capsys):
    create_run(Plan.make(dataset=str(data), small="s", target="t"), name="new")
    arguments = [command[0], "new", *command[1:]]
    assert_wrong_input(arguments, "is queued and does not have all scores yet; it must finish first", capsys)


def test_select_refuses_a_wrong_setting(scored, capsys):
    assert_wrong_input(["select", "scored", "--strata", "0"], "strata is '0'", capsys)
    assert_wrong_input(["select", "scored", "--out", "nowhere/x"], "does not exist", capsys)


def test_verify_starts_only_where_something_is_missing(scored, monkeypatch, capsys):
    use_worker(monkeypatch, "good")
    assert main(["verify", "scored"]) == 0
    assert capsys.readouterr().out == "no samples left to verify\n"
    without(scored.folder, "verification")
    assert main(["verify", "scored", "--strata", "4", "--verify-per-stratum", "2"]) == 0
    assert capsys.readouterr().out.startswith("8 samples to verify\n")
    verified = read_status(scored).verify
    assert (verified["strata"], verified["verify_per_stratum"], verified["strata_by"]) == (4, 2, "width")


def test_a_score_that_the_run_lacks_is_computed_by_verify(scored, monkeypatch, capsys):
    line = f"score 'ifd' needs loss_without_prompt, which run {scored.id} does not have"
    assert_wrong_input(["select", "scored", "--score", "ifd"], line, capsys)
    use_worker(monkeypatch, "good")
    assert main(["verify", "scored", "--score", "ifd"]) == 0
    said = "both models score responses without their prompts, which score ifd needs\n"
    assert capsys.readouterr().out.startswith(said)
    assert read_status(scored).verify["score"] == "ifd"


def test_trajectory_notes_the_checkpoints_and_starts_the_run(scored, monkeypatch, capsys):
    assert_wrong_input(
        ["compare", "scored", "--method", "s2l"], f"trajectory {scored.id} --checkpoints", capsys
    )
    use_worker(monkeypatch, "good")
    assert main(["trajectory", "scored", "--checkpoints", "3"]) == 0
    status = read_status(scored)
    assert (status.verify, read_record(scored).plan.checkpoints) == (None, 3)
    capsys.readouterr()
    write_trajectory(scored)
    assert main(["trajectory", "scored", "--checkpoints", "3"]) == 0
    assert capsys.readouterr().out == "the losses at 3 checkpoints are measured already\n"
    assert main(["trajectory", "scored", "--checkpoints", "0"]) == 2


def test_trajectory_is_refused_while_a_process_works_on_the_run(scored, capsys):
    pid = {"pid": os.getpid(), "pid_started": start_time(os.getpid())}
    save_status(scored.folder, Status(state="running", **pid))
    assert_wrong_input(["trajectory", "scored"], r"is running \(process", capsys)
    assert read_record(scored).plan.checkpoints == 0


def test_export_writes_the_planned_coreset_in_another_format(scored, tmp_path, capsys):
    out = tmp_path / "core.json"
    assert main(["export", "scored", "--format", "json", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"30 samples written to {out}\n"
    assert len(json.loads(out.read_text())) == 30
    assert_wrong_input(
        ["export", "scored", "--format", "xml", "--out", str(out)],
        "unknown export format 'xml'; allowed: jsonl",
        capsys,
    )


# status, list, delete


def test_export_writes_a_folder_and_uploads_it(scored, tmp_path, monkeypatch, capsys):
    pushed = []

    def push(folder, name, *, private):
        pushed.append((len((folder / "data/train.jsonl").read_bytes().splitlines()), name, private))
        return f"https://hub/{name}"

    monkeypatch.setattr("staff_engine.export.hub.push.push_folder", push)
    words = ["export", "scored", "--to", str(tmp_path / "out"), "--push", "team/set", "--private"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"written to {tmp_path / 'out'} and https://hub/team/set" in said
    assert pushed == [(ROWS // 2, "team/set", True)]
    assert main(["select", "scored", "--pruning-rate", "0.8", "--push", "team/set"]) == 0
    assert pushed[1] == (round(ROWS * 0.2), "team/set", False)
    assert main(["export", "scored"]) == 2
    assert "give --out FILE, --to DIR or --push ORG/NAME" in capsys.readouterr().err
    assert main(["export", "scored", "--push", "set"]) == 2
    assert "push is 'set'; allowed: ORG/NAME" in capsys.readouterr().err


def test_warnings_about_a_format_are_printed_one_line_each(tmp_path, staff_home, capsys):
    talk = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    rows = [{"conversations": talk} for _ in range(8)]
    rows[3] = {"conversations": [{"from": "gpt", "value": "hello"}, *talk]}
    source = tmp_path / "talks.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_scored(source, len(rows), pruning_rate=0.0, drop_hardest=0.0)
    out = tmp_path / "out.jsonl"
    for words in (["export", "--format"], ["select", "--export-format"]):
        assert main([words[0], "scored", words[1], "llama-factory", "--out", str(out)]) == 0
        said = capsys.readouterr().err.splitlines()
        assert "warning: LLaMA-Factory will skip 1 row (3), whose turns do not alternate" in said


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


def test_select_says_how_many_near_duplicates_are_left_out(staff_home, tmp_path, capsys):
    run = make_finished_run(tmp_path)
    assert main(["select", run.id, "--near-duplicates", "0.5", "--out", str(tmp_path / "out.jsonl")]) == 0
    selection = open_results(run.folder).select(near_duplicates=0.5)
    assert len(selection.duplicates) > 0
    assert f"{len(selection.duplicates):,} near duplicates are left out\n" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert manifest["counts"]["near_duplicates"] == len(selection.duplicates)
    assert manifest["settings"]["near_duplicates"] == 0.5
    decisions = pq.read_table(tmp_path / "out.decisions.parquet").to_pydict()
    for row_id, kept in selection.duplicates.tolist():
        assert decisions["reason"][row_id] == f"near duplicate of row {kept}"
        assert decisions["kept"][row_id] is False and decisions["stratum"][row_id] is None
    assert main(["select", run.id, "--drop-by", "ifd"]) == 2
    assert "score 'ifd' needs loss_without_prompt" in capsys.readouterr().err


def test_scores_of_a_file_are_added_listed_used_and_removed(staff_home, tmp_path, capsys):
    run = make_finished_run(tmp_path)
    (tmp_path / "scores.csv").write_text(
        "row_id,quality\n" + "".join(f"{row},{row % 7}\n" for row in range(410) if row != 3)
    )
    assert main(["scores", "add", run.id, str(tmp_path / "scores.csv"), "--reverse"]) == 0
    said = capsys.readouterr()
    assert said.out == "own:quality: 399 rows with a value; 1 without one, which cannot be selected by it\n"
    assert said.err == "10 rows of the file are not in the data and are ignored\n"
    assert main(["scores", "list", run.id]) == 0
    assert capsys.readouterr().out.split() == ["effort", "length-adjusted", "loss", "own:quality"]
    assert main(["select", run.id, "--score", "own:quality", "--drop-by", "own:quality"]) == 0
    assert "39 samples selected" in capsys.readouterr().out
    assert_wrong_input(
        ["scores", "add", run.id, str(tmp_path / "scores.csv")], "already has the score", capsys
    )
    assert main(["scores", "remove", run.id, "own:quality"]) == 0
    capsys.readouterr()
    assert_wrong_input(["select", run.id, "--score", "own:quality"], "its own scores: none", capsys)


def test_verify_in_rounds_says_what_the_next_one_needs(scored, monkeypatch, capsys):
    assert_wrong_input(
        ["verify", "scored", "--adaptive"],
        "adaptive verification does not work with allocation 'paper'",
        capsys,
    )
    without(scored.folder, "verification")
    use_worker(monkeypatch, "good")
    assert main(["verify", "scored", "--adaptive", "--allocation", "proportional"]) == 0
    assert re.match(r"\d+ samples to verify in the next round\n", capsys.readouterr().out)
    verified = read_status(scored).verify
    assert (verified["adaptive"], verified["allocation"]) == (True, "proportional")
