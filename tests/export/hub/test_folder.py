import json
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset

from staff_engine.errors import PlanError, StaffError
from staff_engine.export.hub import folder as module
from staff_engine.export.hub.folder import export_folder
from staff_engine.export.hub.push import push_folder
from tests.helpers.made_export import make_pairs, make_run, write_rows

ROWS = [{"prompt": f"question {i}", "completion": f"answer {i}"} for i in range(60)]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return make_run(tmp_path / "run", write_rows(tmp_path / "rows.jsonl", ROWS))


def write(results, folder, *, format="jsonl", with_scores=False, overwrite=False, **changes):
    selection = results.select(**changes)
    settings = results.settings(**changes)
    manifest = export_folder(
        results, selection, settings, folder, format=format, with_scores=with_scores, overwrite=overwrite
    )
    return selection, manifest


def loaded(folder, tmp_path):
    return load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("format", module.folder_formats())
def test_a_folder_is_loaded_with_exactly_the_rows_of_the_coreset(results, tmp_path, format):
    if format == "jsonl-zst":
        pytest.importorskip("zstandard", reason="datasets unpacks .zst with it")
    selection, manifest = write(results, tmp_path / "out", format=format, pruning_rate=0.5)
    rows = loaded(tmp_path / "out", tmp_path)
    assert len(rows) == len(selection.indices) == manifest["counts"]["selected"]
    if format in ("jsonl", "jsonl-zst", "json", "csv", "parquet"):
        assert rows["prompt"][:] == [ROWS[i]["prompt"] for i in selection.indices]


def test_rows_are_the_imported_lines_byte_for_byte(results, tmp_path):
    selection, _ = write(results, tmp_path / "out", pruning_rate=0.5)
    source = (tmp_path / "rows.jsonl").read_bytes().splitlines(keepends=True)
    assert (tmp_path / "out/data/train.jsonl").read_bytes() == b"".join(source[i] for i in selection.indices)


def test_many_rows_of_parquet_are_in_several_files_and_loaded_in_order(results, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 7)
    selection, manifest = write(results, tmp_path / "out", format="parquet", pruning_rate=0.5)
    names = sorted(path.name for path in (tmp_path / "out/data").iterdir())
    assert names == [f"train-{i:05d}-of-00005.parquet" for i in range(5)]
    assert [file["rows"] for file in manifest["files"][:5]] == [7, 7, 7, 7, 2]
    assert loaded(tmp_path / "out", tmp_path)["prompt"][:] == [ROWS[i]["prompt"] for i in selection.indices]


def test_a_type_that_the_loader_does_not_have_is_refused(tmp_path):
    maps = pa.array([[("k", 1)]] * 4, pa.map_(pa.string(), pa.int64()))
    columns = {"prompt": list("abcd"), "completion": list("efgh"), "meta": maps}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    results = make_run(tmp_path / "run", tmp_path / "rows.parquet")
    with pytest.raises(StaffError, match=r"column 'meta' has the type map<string, .*; use the format jsonl"):
        write(results, tmp_path / "out", format="parquet", pruning_rate=0.0)
    assert not (tmp_path / "out").exists()
    write(results, tmp_path / "out", pruning_rate=0.0)
    assert loaded(tmp_path / "out", tmp_path)["meta"][0] == {"k": 1}


def test_decisions_and_manifest_are_where_the_loader_does_not_look(results, tmp_path):
    selection, manifest = write(results, tmp_path / "out", pruning_rate=0.5)
    kept = pq.read_table(tmp_path / "out/staff/decisions.parquet")["kept"].to_numpy(zero_copy_only=False)
    assert np.flatnonzero(kept).tolist() == selection.indices.tolist()
    assert json.loads((tmp_path / "out/staff/manifest.json").read_bytes()) == manifest


def test_the_card_describes_the_data_and_how_to_make_it_again(results, tmp_path):
    write(results, tmp_path / "out", pruning_rate=0.5)
    _, head, text = (tmp_path / "out/README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["configs"][0]["data_files"] == [{"split": "train", "path": "data/train.jsonl"}]
    assert card["size_categories"] == ["n<1K"]
    assert "# Coreset of rows.jsonl" in text
    assert str(tmp_path) not in text
    assert "30 rows of 60" in text
    assert results.imported.facts.fingerprint in text
    assert "run --plan staff/manifest.json \\\n    --pruning-rate=0.5" in text
    bars = text.partition("## Scores")[2].split("```")[1].strip().splitlines()
    kept = [int(bar.rpartition(" of ")[0].split()[-1]) for bar in bars]
    assert len(bars) == 12
    assert sum(kept) == 30


def test_an_earlier_export_is_replaced_and_files_that_it_no_longer_has_go(results, tmp_path):
    write(results, tmp_path / "out", format="parquet", pruning_rate=0.5)
    (tmp_path / "out/notes.txt").write_text("mine")
    selection, _ = write(results, tmp_path / "out", pruning_rate=0.8)
    assert [path.name for path in (tmp_path / "out/data").iterdir()] == ["train.jsonl"]
    assert len(loaded(tmp_path / "out", tmp_path)) == len(selection.indices)
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["README.md", "data/other.jsonl", "staff/manifest.json"])
def test_files_of_others_are_kept_unless_it_is_wanted(results, tmp_path, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(StaffError, match=r"which is not from an earlier export; .*--overwrite"):
        write(results, tmp_path / "out")
    assert path.read_text() == "mine"
    write(results, tmp_path / "out", overwrite=True)


def test_a_place_that_cannot_be_written_is_refused_before_any_work(results, tmp_path):
    (tmp_path / "file").write_text("x")
    for folder, says in (
        (tmp_path / "file", "is a file; give a folder"),
        (tmp_path / "no/where", "does not exist"),
        (tmp_path, "contains the data that the coreset is selected from"),
        (tmp_path / "run/out", "is inside the run folder"),
    ):
        (tmp_path / "run/status.json").write_text("{}")
        with pytest.raises(StaffError, match=says):
            write(results, folder)
    with pytest.raises(
        PlanError, match="format 'indices' cannot be loaded from a folder; allowed: jsonl, json"
    ):
        write(results, tmp_path / "out", format="indices")


def test_a_failed_export_leaves_the_earlier_one(tmp_path, monkeypatch):
    results, _ = make_pairs(tmp_path)
    write(results, tmp_path / "out", pruning_rate=0.5)
    before = (tmp_path / "out/data/train.jsonl").read_bytes()
    monkeypatch.setattr(module, "write_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(results, tmp_path / "out", pruning_rate=0.0)
    assert (tmp_path / "out/data/train.jsonl").read_bytes() == before
    assert not list(tmp_path.glob(".out*"))


class Hub:
    """A stand-in for the hub."""

    calls: ClassVar[list] = []

    def create_repo(self, name, **how):
        self.calls.append(("create", name, how))
        return f"https://hub/datasets/{name}"

    def upload_folder(self, **how):
        self.calls.append(("upload", how))


def test_a_folder_is_uploaded_with_the_files_of_the_export_only(results, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "calls", [])
    write(results, tmp_path / "out", pruning_rate=0.5)
    (tmp_path / "out/secret.txt").write_text("mine")
    assert push_folder(tmp_path / "out", "team/set", private=True) == "https://hub/datasets/team/set"
    (_, name, created), (_, uploaded) = Hub.calls
    assert (name, created) == ("team/set", {"repo_type": "dataset", "private": True, "exist_ok": True})
    assert (uploaded["repo_id"], uploaded["repo_type"]) == ("team/set", "dataset")
    assert uploaded["folder_path"] == tmp_path / "out"
    assert uploaded["allow_patterns"] == [
        "README.md", "data/train.jsonl", "staff/decisions.parquet", "staff/manifest.json",
    ]  # fmt: skip


def test_what_the_hub_refuses_is_a_sentence(results, tmp_path, monkeypatch):
    def refuse(self, name, **how):
        raise OSError("401 Client Error")

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "create_repo", refuse)
    write(results, tmp_path / "out")
    with pytest.raises(StaffError, match="cannot be uploaded to 'team/set': 401 Client Error; log in with"):
        push_folder(tmp_path / "out", "team/set")


@pytest.mark.parametrize("name", ["set", "a/b/c", "team/", "te am/set", "../set"])
def test_a_name_that_the_hub_does_not_have_is_refused(tmp_path, name):
    with pytest.raises(PlanError, match=r"push is '.*'; allowed: ORG/NAME"):
        push_folder(tmp_path, name)
