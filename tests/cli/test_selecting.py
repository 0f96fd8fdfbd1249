"""`select`, `verify`, `trajectory` and `scores`: what a run with scores is asked for."""

import json
import os
import re
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from staff_engine.cli.main import main
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run, read_record, read_status
from staff_engine.runs.results import open_results
from staff_engine.runs.status import Status, save_status
from staff_engine.system.processes import start_time
from tests.helpers.damage import without
from tests.helpers.made_cli import assert_wrong_input, use_worker
from tests.helpers.made_run import make_finished_run, write_trajectory

pytestmark = pytest.mark.usefixtures("staff_home")


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
