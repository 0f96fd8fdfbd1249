"""Evaluations of older versions, which called them comparisons, open and resume like current ones."""

import json

import pytest

from staff_engine.cli.main import main
from staff_engine.evaluation import planning
from staff_engine.evaluation.report import FACTS_FILE, open_evaluation, read_evaluation
from staff_engine.runs import control
from tests.helpers.made_evaluation import make_evaluation, write_held_out
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return make_evaluation(make_finished_run(tmp_path), write_held_out(tmp_path / "held_out.jsonl"))


@pytest.fixture
def older(run):
    """The same run as an older version left it."""
    path = run.folder / "plan.json"
    plan = json.loads(path.read_text())
    plan["comparison"] = plan.pop("evaluation")
    path.write_text(json.dumps(plan))
    (run.folder / FACTS_FILE).rename(run.folder / "comparison.json")
    return run


def test_its_plan_is_that_of_an_evaluation(older):
    record = control.read_record(older)
    assert record.kind == control.kind_of(older) == "evaluation"
    assert record.evaluation.methods == ("staff", "random")
    assert control.find_run("latest", kind="evaluation") == older


def test_its_report_is_the_one_before(run, request):
    before = read_evaluation(run.folder)
    assert before.cells == before.planned == 7
    older = request.getfixturevalue("older")
    assert not (older.folder / FACTS_FILE).exists()
    assert read_evaluation(older.folder) == open_evaluation(older.folder).report == before


def test_a_run_that_is_no_evaluation_says_null_as_before(run, tmp_path):
    source = control.find_run("made up")
    path = source.folder / "plan.json"
    plan = json.loads(path.read_text())
    del plan["evaluation"]
    path.write_text(json.dumps({**plan, "comparison": None}))
    assert control.kind_of(source) == "coreset"
    assert control.describe(source).as_json()["evaluation"] is None


def test_the_command_line_describes_it_as_an_evaluation(older, capsys):
    assert main(["status", older.id, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "comparison" not in found
    assert found["evaluation"]["methods"] == ["staff", "random"]
    assert found["report"]["cells"] == 7


def test_what_is_added_to_it_is_written_under_the_name_of_today(older):
    planning.add_to(older, planning.extended(older, seeds=3))
    written = json.loads((older.folder / "plan.json").read_text())
    assert "comparison" not in written
    assert written["evaluation"]["seeds"] == 3
    report = read_evaluation(older.folder)
    assert (report.cells, report.planned) == (7, 10)


def test_facts_that_are_written_anew_come_before_the_older_ones(older):
    facts = json.loads((older.folder / "comparison.json").read_text())
    (older.folder / FACTS_FILE).write_text(json.dumps({**facts, "warnings": ["seen anew"]}))
    assert read_evaluation(older.folder).warnings == ("seen anew",)
