"""`compare`: what is typed, what is said, what is written."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from staff_engine.cli.main import main
from staff_engine.runs.integrity.records import forget
from staff_engine.runs.results import open_results
from staff_engine.runs.score_tables import choose, small_scores
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.selection.methods import DEFAULT_METHODS, METHODS
from tests.helpers.made_run import make_finished_run, write_alone


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "110")
    run = make_finished_run(tmp_path, 200)
    write_alone(run)
    return run


def test_without_options_the_default_methods_are_compared_at_the_runs_own_rate(run, capsys):
    assert main(["compare", run.id]) == 0
    said = capsys.readouterr().out
    assert "Coresets at a pruning rate of 0.9; seed 0, scores of the small model, β of CCS and D2 0.1" in said
    for method in map(METHODS.get, DEFAULT_METHODS):
        rows = [line for line in said.splitlines() if line.split()[:1] == [method.label]]
        assert rows[0].split()[1] == "19"
        assert len(rows) == 2 + (method.name == "staff")  # in either table, and first of the columns
    assert "of 10 strata" in said and "of 50 clusters" in said


def test_everything_comes_as_json_for_each_rate(run, capsys):
    words = ["--method", "staff", "--method", "d2", "--pruning-rate", "0.9", "--pruning-rate", "0.5"]
    assert main(["compare", "latest", *words, "--seed", "4", "--beta", "0.3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["pruning_rate"] for each in found] == [0.9, 0.5]
    for each, size in zip(found, (19, 96), strict=True):
        assert (each["seed"], each["beta"], each["scores"]) == (4, 0.3, "small")
        assert [method["name"] for method in each["methods"]] == ["staff", "d2"]
        assert [method["coreset_size"] for method in each["methods"]] == [size, size]
        staff, d2 = each["methods"]
        assert staff["overlap"]["d2"] == d2["overlap"]["staff"]
        assert 0 < staff["clusters_reached"] <= 1
        assert len(d2["loss"]) == len(each["quantiles"]) == len(each["all"]["loss"])


def test_the_number_of_strata_of_ccs_can_be_set(run, tmp_path, capsys):
    words = ["--method", "ccs", "--method", "random", "--baseline-strata", "4"]
    assert main(["compare", run.id, *words]) == 0
    assert "K of CCS 4" in capsys.readouterr().out
    assert main(["compare", run.id, *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["baseline_strata"] == 4
    out = tmp_path / "kept.parquet"
    assert main(["compare", run.id, *words, "--out", str(out)]) == 0
    results = open_results(run.folder)
    expected = choose("ccs", results, small_scores(results), pruning_rate=0.9, seed=0, strata=4)
    np.testing.assert_array_equal(np.flatnonzero(pq.read_table(out)["ccs_0.9"].to_numpy()), expected)


def test_a_provisional_coreset_is_called_so(run, capsys):
    assert main(["compare", run.id, "--method", "staff-paper", "--method", "staff-unverified"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    count = len(to_verify(open_results(run.folder), preset="paper"))
    assert f"STAFF (Paper) is provisional: {count} samples are not verified yet." in said
    assert f"verify {run.id} --strata 50" in said
    assert said.count("provisional") == 1


def test_the_overlap_of_many_methods_has_numbers_for_headings(run, capsys):
    names = list(METHODS)[:9]
    assert main(["compare", run.id, *(word for name in names for word in ("--method", name))]) == 0
    said = capsys.readouterr().out
    assert "1     2     3     4     5     6     7     8     9" in said
    assert f"9 {METHODS[names[8]].label}" in said


def test_which_rows_each_method_keeps_is_written(run, tmp_path, capsys):
    out = tmp_path / "kept.parquet"
    words = ["--method", "ccs", "--method", "grand", "--pruning-rate", "0.5", "--pruning-rate", "0.75"]
    assert main(["compare", run.id, *words, "--seed", "2", "--out", str(out)]) == 0
    assert "are written to" in capsys.readouterr().out
    table = pq.read_table(out)
    assert table.column_names == ["row_id", "ccs_0.5", "grand_0.5", "ccs_0.75", "grand_0.75"]
    assert table["row_id"].to_pylist() == list(range(200))
    results = open_results(run.folder)
    for column in table.column_names[1:]:
        name, rate = column.split("_")
        expected = choose(name, results, small_scores(results), pruning_rate=float(rate), seed=2)
        np.testing.assert_array_equal(np.flatnonzero(table[column].to_numpy()), expected)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--method", "best"], "method is 'best'; allowed: staff, staff-paper,"),
        (["--pruning-rate", "1"], "pruning_rate is 1"),
        (["--beta", "1.5", "--method", "ccs"], "beta is 1.5; allowed: 0 or more and below 1"),
        (["--baseline-strata", "0", "--method", "ccs"], "num_strata is 0"),
        (["--seed", "-1", "--method", "random"], "seed is -1"),
        (["--out", "/nowhere/kept.parquet"], "folder /nowhere cannot be written to (it does not exist)"),
    ],
)
def test_wrong_input_is_refused_in_one_line(run, words, line, capsys):
    assert main(["compare", run.id, *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert line in said.err


def test_the_data_set_is_not_overwritten(run, capsys):
    data = open_results(run.folder).plan.dataset
    assert main(["compare", run.id, "--out", data]) == 2
    assert "is the data set itself" in capsys.readouterr().err


def test_methods_that_read_no_embeddings_serve_a_run_without(run, capsys):
    for path in (run.folder / "embedding").glob("*"):
        path.unlink()
    forget(run.folder, "embedding")
    assert main(["compare", run.id]) == 2
    assert "D2 reads embeddings" in capsys.readouterr().err
    assert main(["compare", run.id, "--method", "staff", "--method", "el2n"]) == 0
    assert "–" in capsys.readouterr().out
