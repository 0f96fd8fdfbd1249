"""`export` and `select` on the command line: formats, folders, the hub, recipes and compressed lines."""

import json

import pyarrow as pa
import pytest

from staff_engine.cli.main import main
from tests.helpers.made_cli import ROWS, assert_wrong_input, make_scored
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
