"""Run folders that an older version made open as before, and give the same coreset byte for byte."""

import json
import shutil
from pathlib import Path

import pytest

from staff_engine.cli.main import main
from staff_engine.pipelines.similarity.report import open_similarity
from staff_engine.runs import control
from staff_engine.runs.kinds import Kind
from staff_engine.runs.results import open_results
from staff_engine.runs.stages import stage_of
from staff_engine.samples.columns import sample_columns
from staff_engine.samples.neighbours import nearest

OLD = Path(__file__).parent / "old_runs"
NAMES = {"old coreset": "coreset", "old similarity": "similarity", "old evaluation": "evaluation"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home with the old runs in it."""
    made = tmp_path / "home"
    shutil.copytree(OLD / "home", made)
    for path in made.rglob("*.json"):
        path.write_text(_placed(path, made), encoding="utf-8")
    monkeypatch.setenv("STAFF_HOME", str(made))
    monkeypatch.setenv("COLUMNS", "200")
    return made


def _placed(path, home):
    return path.read_text(encoding="utf-8").replace("{home}", str(home))


def expected(name, home):
    return json.loads(_placed(OLD / "expected" / f"status-{NAMES[name]}.json", home))


RENAMED = {"comparison": "evaluation"}
REWORDED = {"sentences", "label"}
"""Fields whose text is made when the report is read."""


def assert_kept(said, before, where="output"):
    """Every field that the older version printed is there with its value; newer fields may be added."""
    if isinstance(before, dict):
        for key in before.keys() - REWORDED:
            assert_kept(said[RENAMED.get(key, key)], before[key], f"{where}.{key}")
    elif isinstance(before, list):
        assert len(said) == len(before), where
        for place, (now, then) in enumerate(zip(said, before, strict=True)):
            assert_kept(now, then, f"{where}.{place}")
    else:
        assert said == before, where


def printed(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_status_says_what_it_said(name, home, capsys):
    assert_kept(json.loads(printed(capsys, "status", name, "--json")), expected(name, home))


def test_an_old_similarity_says_that_it_did_not_hold_the_response_length(capsys):
    said = " ".join(printed(capsys, "status", "old similarity").split())
    assert "made by an older version, which did not hold response length constant" in said


@pytest.mark.parametrize("name", NAMES)
def test_status_in_words_has_its_name_state_and_stages(name, home, capsys):
    said = printed(capsys, "status", name)
    assert name in said and "finished" in said
    for stage in expected(name, home)["stages"]:
        assert stage["name"] in said
        assert stage_of(stage["name"]).name == stage["name"]


def test_the_list_has_all_of_them(home, capsys):
    listed = json.loads(printed(capsys, "list", "--json"))
    wanted = [expected(name, home) for name in reversed(NAMES)]
    for said, before in zip(listed, wanted, strict=True):
        assert "report" not in said
        assert_kept(said, {key: value for key, value in before.items() if key != "report"})
    said = printed(capsys, "list")
    assert all(facts["run_id"] in said for facts in listed)


def test_each_is_of_its_kind():
    kinds = [control.read_record(control.find_run(name)).kind for name in NAMES]
    assert kinds == [Kind.CORESET, Kind.SIMILARITY, Kind.EVALUATION]


def test_the_coreset_is_byte_for_byte_the_same(tmp_path, capsys):
    out = tmp_path / "kept.jsonl"
    printed(capsys, "select", "old coreset", "--out", str(out))
    assert out.read_bytes() == (OLD / "expected" / "kept.jsonl").read_bytes()


def test_another_format_is_byte_for_byte_the_same(tmp_path, capsys):
    out = tmp_path / "alpaca.json"
    printed(capsys, "export", "old coreset", "--format", "alpaca", "--out", str(out))
    assert out.read_bytes() == (OLD / "expected" / "alpaca.json").read_bytes()


def test_other_settings_select_the_same_rows(capsys):
    said = printed(capsys, "select", "old coreset", "--pruning-rate", "0.8", "--strata", "3", "--json")
    assert_kept(json.loads(said), json.loads((OLD / "expected" / "select.json").read_text()))


def test_the_samples_of_the_coreset_s_run_can_be_looked_at():
    results = open_results(control.find_run("old coreset").folder)
    columns = sample_columns(results, results.select())
    assert len(columns.speculative) == results.num_rows == 60
    rows, _ = nearest(results.folder, 0, count=3)
    assert len(rows) == 3


def test_the_similarity_opens_with_its_scores_and_report(home):
    similarity = open_similarity(control.find_run("old similarity").folder)
    assert_kept(similarity.report.as_json(), expected("old similarity", home)["report"])
    assert not similarity.report.length_held
    assert len(similarity.scores) == 20 * len(similarity.report.readings)


def test_the_evaluation_keeps_its_cells_where_seeds_are_added(capsys):
    said = printed(capsys, "compare", "old evaluation", "--evaluate", "--seeds", "2", "--estimate")
    assert said.startswith("3 cells")  # of 7: on nothing, and twice on all, by STAFF and by chance
