"""Cells that a spreadsheet would read as formulas: unchanged in csv, text in spreadsheet, told in both."""

import csv
import json

import pytest

from staff_engine.export.coreset import export_coreset
from staff_engine.export.tabular import write_csv
from staff_engine.runs.results import open_results
from tests.helpers import made_run
from tests.helpers.made_run import make_finished_run

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")']
PLAIN = ["1=1", "a-b", "", " =1", "'=1"]


def cells(tmp_path, rows, **how):
    path = tmp_path / "rows.csv"
    assert write_csv(path, lambda: rows, **how) == len(rows)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("value", FORMULAS)
def test_a_formula_becomes_text_only_on_request(tmp_path, value):
    rows = [{value: value, "number": -5, "list": ["=1"], "flag": True}]
    assert cells(tmp_path, rows) == [[value, "number", "list", "flag"], [value, "-5", '["=1"]', "true"]]
    header, row = cells(tmp_path, rows, spreadsheet=True)
    assert (header[0], row) == (f"'{value}", [f"'{value}", "-5", '["=1"]', "true"])


@pytest.mark.parametrize("value", PLAIN)
def test_other_text_is_never_changed(tmp_path, value):
    rows = [{"a": value, "b": "b"}]
    assert cells(tmp_path, rows, spreadsheet=True) == cells(tmp_path, rows) == [["a", "b"], [value, "b"]]


@pytest.mark.parametrize(
    ("format", "told"),
    [("csv", "the format spreadsheet writes it as text"), ("spreadsheet", "it got an apostrophe")],
)
def test_the_manifest_counts_the_rows(tmp_path, monkeypatch, format, told):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(made_run, "TOPICS", ["tea", "=tea"])
    results = open_results(make_finished_run(tmp_path, rows=60, pruning_rate=0.5).folder)
    source = (results.folder / "dataset" / "source.jsonl").read_text().splitlines()
    selection = results.select()
    texts = [json.loads(source[row]) for row in selection.indices]
    assert not any(value.startswith("=") for row in texts for value in row.values())
    manifest = export_coreset(results, selection, {}, tmp_path / "out.csv", format=format)
    assert not any("formula" in warning for warning in manifest["warnings"])

    def begins(path, rows, **_):
        with path.open("w", encoding="utf-8") as file:
            for row in range(rows):
                answer = "" if row >= rows - made_run.UNSCORABLE else f"{'=' if row % 2 else ''}fact {row}"
                file.write(json.dumps({"question": f"number {row}", "answer": answer}) + "\n")
        return path

    monkeypatch.setattr(made_run, "write_rows", begins)
    results = open_results(make_finished_run(tmp_path, rows=60, pruning_rate=0.5).folder)
    selection = results.select()
    odd = sum(row % 2 for row in selection.indices.tolist())
    manifest = export_coreset(results, selection, {}, tmp_path / "out.csv", format=format)
    (warning,) = [each for each in manifest["warnings"] if "formula" in each]
    assert warning.startswith(f"{odd} rows (") and told in warning
