"""`export` and `select` on the command line: recipes for training tools, and compressed lines."""

import json

import pyarrow as pa
import pytest

from staff_engine.cli.main import main
from tests.helpers.made_cli import assert_wrong_input
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return make_finished_run(tmp_path)


def test_a_recipe_is_written_with_the_rows_in_the_format_that_it_reads(run, tmp_path):
    assert main(["export", run.id, "--out", str(tmp_path / "c.jsonl"), "--recipe", "axolotl"]) == 0
    assert (tmp_path / "c.axolotl.yaml").exists()
    assert json.loads((tmp_path / "c.jsonl").read_text().splitlines()[0]).keys() == {"messages"}
    assert main(["select", run.id, "--to", str(tmp_path / "folder"), "--recipe", "llama-factory"]) == 0
    assert {path.name for path in (tmp_path / "folder/data").iterdir()} == {
        "train.jsonl",
        "dataset_info.json",
    }
    assert (tmp_path / "folder/train.llama-factory.yaml").exists()


def test_a_recipe_without_a_place_or_with_another_format_is_refused(run, tmp_path, capsys):
    assert_wrong_input(["select", run.id, "--recipe", "trl"], "give --out FILE or --to DIR too", capsys)
    csv = ["--out", str(tmp_path / "c.csv"), "--export-format", "csv", "--recipe", "trl"]
    assert_wrong_input(["select", run.id, *csv], "recipe 'trl' reads the format messages, not csv", capsys)
    assert not (tmp_path / "c.csv").exists()


def test_compressed_lines_are_the_imported_ones(run, tmp_path, capsys):
    plain, packed = tmp_path / "c.jsonl", tmp_path / "z.jsonl.zst"
    assert main(["export", run.id, "--out", str(plain)]) == 0
    assert main(["export", run.id, "--out", str(packed), "--format", "jsonl-zst"]) == 0
    with pa.input_stream(str(packed), compression="zstd") as file:
        assert file.read() == plain.read_bytes()
    assert packed.stat().st_size < plain.stat().st_size
    capsys.readouterr()
    words = ["export", run.id, "--out", str(tmp_path / "x.jsonl.zst")]
    assert_wrong_input(words, "format jsonl is not compressed; remove .zst, or use jsonl-zst", capsys)
    words = ["export", run.id, "--out", str(tmp_path / "x.jsonl"), "--format", "jsonl-zst"]
    assert_wrong_input(words, "the name of a file in the format jsonl-zst ends in .zst", capsys)
