"""A run whose scores are from a file: what it keeps and refuses, and its selections."""

import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from staff_engine.brought_scores import NO_MODEL
from staff_engine.cli.main import main
from staff_engine.errors import DatasetError, PlanError, RunError
from staff_engine.pipelines.coreset import execute, stages_of
from staff_engine.plan import Plan
from staff_engine.runs.results import open_results
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.scoring.own_scores import with_own_score
from tests.helpers.brought_scores import ROWS, WITHOUT, make_scores_run, write_sources
from tests.helpers.made_cli import assert_wrong_input
from tests.helpers.tiny_run import Watch

GIVEN = {"dataset": "d.jsonl", "scores": "s.csv", "score": "own:x"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))


@pytest.fixture
def brought(home, tmp_path):
    return make_scores_run(tmp_path)


def values_of(folder, name):
    table = pyarrow.csv.read_csv(folder / "scores.csv").to_pydict()
    return {int(key[1:]): value for key, value in zip(table["id"], table[name], strict=True)}


def test_the_scores_of_the_file_take_the_place_of_a_small_model(brought, tmp_path):
    run, watch = brought
    results = open_results(run.folder)
    expected = values_of(tmp_path, "perplexity")
    assert {i: results.speculative[i] for i in range(ROWS) if i not in WITHOUT} == pytest.approx(expected)
    assert np.isnan(results.speculative[list(WITHOUT)]).all()
    assert results.unscorable == dict.fromkeys(
        WITHOUT, "the file of scores has no value of own:perplexity for it"
    )
    assert results.score_names == ("own:perplexity", "own:quality")
    assert "fine-tune" not in watch.stages and "verify" not in watch.stages
    assert tuple(watch.stages) == stages_of(results.plan)
    assert results.summary.samples == ROWS - len(WITHOUT)
    assert results.summary.warnings[0] == "The scores are from scores.csv. The run has no small model."


def test_every_score_of_the_file_selects(brought):
    results = open_results(brought[0].folder)
    easy = results.select(within="hardest", strata=1, drop_hardest=0.0)
    expected = np.argsort(-np.nan_to_num(results.speculative, nan=-1.0))[: len(easy.indices)]
    assert easy.indices.tolist() == sorted(expected.tolist())
    other = results.select(score="own:quality", within="hardest", strata=1, drop_hardest=0.0)
    assert other.indices.tolist() != easy.indices.tolist()
    assert len(to_verify(results)) == 0


def test_a_second_pass_changes_nothing(brought):
    folder = brought[0].folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    execute(folder, Watch())
    changed = {path.name for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert changed <= {"unscorable.parquet"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"small": "m"}, "give scores or small, not both"),
        ({"score": "effort"}, "score is 'effort', which needs a small model"),
        ({"drop_by": "ifd"}, "drop_by is 'ifd', which needs a small model"),
        ({"checkpoints": 3}, "checkpoints is 3, which needs a small model"),
        ({"within": "diverse"}, "needs the embeddings of a small model"),
        ({"ratio": "paper"}, "ratio is 'paper' .* but the run has no target"),
        ({"scores": None, "small": "m", "target": NO_MODEL}, "which only a run with a file of scores can be"),
    ],
)
def test_what_needs_a_model_is_refused_without_one(changes, message):
    assert Plan.make(**GIVEN).models == ()
    assert Plan.make(**GIVEN, target="t").ratio == "paper"
    with pytest.raises(PlanError, match=message):
        Plan.make(**{**GIVEN, **changes})


def test_a_score_that_only_a_model_has_is_named_with_those_of_the_run(brought):
    results = open_results(brought[0].folder)
    with pytest.raises(RunError, match=r"score 'loss' needs a small model.*own:perplexity, own:quality"):
        results.scores_by("loss")


def test_the_only_score_of_a_file_is_chosen_and_one_of_several_asked_for(tmp_path):
    _, file = write_sources(tmp_path)
    given = {"scores": str(file), "score_key": "id"}
    with pytest.raises(DatasetError, match="has the scores own:perplexity, own:quality; choose one"):
        with_own_score(given)
    with pytest.raises(DatasetError, match="has no score 'own:x'; its scores: own:perplexity, own:quality"):
        with_own_score({**given, "score": "own:x"})
    (tmp_path / "one.csv").write_text("row_id,difficulty (1-5)\n0,3\n1,4\n")
    assert with_own_score({"scores": str(tmp_path / "one.csv")})["score"] == "own:difficulty-1-5"


def test_select_export_and_compare_work_on_the_command_line(brought, tmp_path, capsys):
    run = brought[0].id
    assert main(["select", run, "--pruning-rate", "0.8", "--out", str(tmp_path / "c.jsonl")]) == 0
    assert len((tmp_path / "c.jsonl").read_text().splitlines()) == round(0.2 * (ROWS - len(WITHOUT)))
    decisions = pq.read_table(tmp_path / "c.decisions.parquet")
    assert decisions["loss"].null_count == ROWS
    assert main(["export", run, "--to", str(tmp_path / "folder")]) == 0
    card = (tmp_path / "folder/README.md").read_text()
    assert "by scores of others. The scores of 58 rows are from `scores.csv`." in card
    assert str(tmp_path) not in (tmp_path / "folder/staff/manifest.json").read_text()
    capsys.readouterr()
    assert main(["compare", run, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [method["name"] for method in found["methods"]] == ["staff", "random"]
    assert main(["compare", run]) == 0
    assert "nan" not in capsys.readouterr().out
    held_out = ["--held-out", str(tmp_path / "rows.jsonl")]
    assert_wrong_input(["compare", run, "--evaluate", *held_out], "has no target to fine-tune", capsys)
    given = ["--dataset", str(tmp_path / "rows.jsonl"), "--scores", "s.csv", "--score", "own:perplexity"]
    assert_wrong_input(["forecast", *given], "scores of a file need no forecast", capsys)
    words = ["export", run, "--out", str(tmp_path / "r.jsonl"), "--recipe", "trl"]
    assert_wrong_input(words, "this run has none", capsys)


@pytest.mark.long
def test_a_target_verifies_scores_of_a_file_by_its_effort(home, tmp_path):
    run, watch = make_scores_run(tmp_path, target="builtin:llama-nano", verify_per_stratum=4)
    results = open_results(run.folder)
    assert "verify" in watch.stages and "fine-tune" not in watch.stages
    assert len(results.verified_ids) == 12
    assert np.isfinite(results.verified_scores).all()
    assert "Rank correlation of own:perplexity with the target" in results.summary.warnings[1]
    assert results.summary.full_target_seconds_estimate
