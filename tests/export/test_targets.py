"""What an export may not write over."""

import json
import shutil

import pytest

from staff_engine.errors import StaffError
from staff_engine.export.delivery import check_out, plan_delivery
from tests.helpers.made_export import export, make_run, write_rows

ROWS = [{"prompt": f"q{i}", "completion": f"a{i}"} for i in range(40)]


@pytest.fixture
def results(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("STAFF_HOME", str(home))
    folder = home / "runs" / "one"
    folder.mkdir(parents=True)
    results = make_run(folder, write_rows(tmp_path / "data.jsonl", ROWS))
    (folder / "status.json").write_text("{}")
    return results


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", ["plan.json", "status.json", "speculative/part-00000.parquet", "dataset/new.json", "new.jsonl"]
)
def test_no_file_inside_a_run_folder_is_written(results, name):
    before = contents(results.folder)
    out = results.folder / name
    for write in (
        lambda: export(results, out),
        lambda: plan_delivery(out, "jsonl", False, results.plan, overwrite=True),
        lambda: check_out(out, results.plan),
    ):
        with pytest.raises(StaffError, match=f"{out.name} is inside the run folder .*one"):
            write()
    assert contents(results.folder) == before


def test_a_run_folder_outside_of_the_home_is_one_too(results, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(results.folder, moved)
    with pytest.raises(StaffError, match=r"is inside the run folder .*moved"):
        check_out(moved / "plan.json", results.plan)


def test_the_exports_folder_of_a_run_can_be_written(results):
    (results.folder / "exports").mkdir()
    export(results, results.folder / "exports" / "core.jsonl")
    assert (results.folder / "exports" / "core.jsonl").exists()


@pytest.mark.parametrize("name", ["core.jsonl", "core.decisions.parquet", "core.jsonl.manifest.json"])
def test_a_file_that_is_not_from_an_export_is_kept(results, tmp_path, name):
    mine = tmp_path / name
    mine.write_text("mine")
    with pytest.raises(StaffError, match=f"{name} exists and is not from an earlier export; .*--overwrite"):
        export(results, tmp_path / "core.jsonl")
    with pytest.raises(StaffError, match=name):
        plan_delivery(tmp_path / "core.jsonl", "jsonl", False, results.plan)
    assert mine.read_text() == "mine"
    export(results, tmp_path / "core.jsonl", overwrite=True)
    assert mine.read_bytes() != b"mine"


def test_an_earlier_export_is_replaced_also_in_another_size(results, tmp_path):
    out = tmp_path / "core.jsonl"
    export(results, out, pruning_rate=0.5)
    export(results, out, pruning_rate=0.9)
    assert len(out.read_text().splitlines()) == 4
    assert json.loads((tmp_path / "core.jsonl.manifest.json").read_text())["counts"]["selected"] == 4


def test_a_manifest_of_another_program_gives_no_permission(results, tmp_path):
    files = [{"name": "core.jsonl"}]
    (tmp_path / "core.jsonl.manifest.json").write_text(json.dumps({"program": "other", "files": files}))
    (tmp_path / "core.jsonl").write_text("mine")
    with pytest.raises(StaffError, match=r"core\.jsonl exists"):
        export(results, tmp_path / "core.jsonl")
