"""Coresets written to files: bytes as imported, decisions and manifest, and what is refused."""

import hashlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.errors import PlanError, StaffError
from staff_engine.export.coreset import check_export
from staff_engine.export.formats import EXPORT_FORMATS
from staff_engine.runs.verification.drawing import to_verify
from tests.helpers.made_export import ALL, export, make_mixed, make_pairs, make_run, read_lines, write_rows

STAFF_INSERTED = re.compile(rb'(, )?"_staff": \{[^{}]*\}')


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return make_mixed(tmp_path_factory.mktemp("mixed"))


@pytest.fixture
def pairs(tmp_path):
    return make_pairs(tmp_path)


# JSONL


def test_every_one_of_1000_mixed_rows_comes_out_byte_for_byte(mixed, tmp_path):
    results, lines = mixed
    selection, _ = export(results, tmp_path / "all.jsonl", **ALL)
    assert len(selection.indices) == 1000
    assert (tmp_path / "all.jsonl").read_bytes() == b"".join(line + b"\n" for line in lines)


def test_a_coreset_holds_exactly_the_selected_lines_in_the_order_of_the_source(mixed, tmp_path):
    results, lines = mixed
    selection, _ = export(results, tmp_path / "coreset.jsonl", pruning_rate=0.9)
    assert len(selection.indices) == 100
    expected = b"".join(lines[i] + b"\n" for i in selection.indices)
    assert (tmp_path / "coreset.jsonl").read_bytes() == expected


def test_scores_are_inserted_behind_the_last_field_and_every_other_byte_stays(mixed, tmp_path):
    results, lines = mixed
    selection, _ = export(results, tmp_path / "scored.jsonl", with_scores=True, pruning_rate=0.5)
    written = (tmp_path / "scored.jsonl").read_bytes().split(b"\n")[:-1]
    assert len(written) == len(selection.indices)
    verified = dict(zip(results.verified_ids.tolist(), results.verified_scores.tolist(), strict=True))
    for row_id, line in zip(selection.indices.tolist(), written, strict=True):
        assert STAFF_INSERTED.sub(b"", line) == lines[row_id]
        row = json.loads(line)
        assert list(row)[-1] == "_staff"
        assert row["_staff"] == {
            "row_id": row_id,
            "speculative_score": results.speculative[row_id],
            "verification_score": verified.get(row_id),
            "stratum": selection.labels[row_id],
        }


def test_rows_that_carry_scores_of_an_earlier_export_are_not_given_a_second_field(pairs, tmp_path):
    export(pairs[0], tmp_path / "first.jsonl", with_scores=True, **ALL)
    again = make_run(tmp_path / "again", tmp_path / "first.jsonl")
    with pytest.raises(StaffError, match=r"row 0: the row already has a field '_staff'"):
        export(again, tmp_path / "second.jsonl", with_scores=True, **ALL)
    assert not (tmp_path / "second.jsonl").exists()
    export(again, tmp_path / "second.jsonl", **ALL)
    assert (tmp_path / "second.jsonl").read_bytes() == (tmp_path / "first.jsonl").read_bytes()


def test_a_text_that_only_mentions_the_field_does_not_stop_the_scores(tmp_path):
    rows = [
        {"prompt": f'what is "_staff"? {i}', "completion": "_staff", "x": {"_staff": 1}} for i in range(3)
    ]
    results = make_run(tmp_path / "run", write_rows(tmp_path / "rows.jsonl", rows))
    export(results, tmp_path / "out.jsonl", with_scores=True, **ALL)
    assert [row["_staff"]["row_id"] for row in read_lines(tmp_path / "out.jsonl")] == [0, 1, 2]


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(mixed, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        export(mixed[0], tmp_path / f"{name}.jsonl", seed=seed)
    a, b, c = ((tmp_path / f"{name}.jsonl").read_bytes() for name in "abc")
    assert a == b != c


def test_rows_of_a_csv_come_out_as_its_rows(tmp_path):
    (tmp_path / "data.csv").write_text('question,answer\n"one, two",1\nthree,"4\n5"\nsix,7\n')
    results = make_run(tmp_path / "run", tmp_path / "data.csv")
    export(results, tmp_path / "out.jsonl", **ALL)
    assert [row["question"] for row in read_lines(tmp_path / "out.jsonl")] == ["one, two", "three", "six"]


# Decisions and manifest


def test_decisions_say_of_every_imported_row_what_became_of_it_and_why(pairs, tmp_path):
    results, rows = pairs
    selection, _ = export(results, tmp_path / "out.jsonl", pruning_rate=0.6, drop_hardest=0.2)
    table = pq.read_table(tmp_path / "out.decisions.parquet")
    assert table.schema.remove_metadata() == pa.schema(
        {
            "row_id": pa.int64(),
            "speculative_score": pa.float64(),
            "loss": pa.float64(),
            "stratum": pa.int32(),
            "verification_score": pa.float64(),
            "kept": pa.bool_(),
            "reason": pa.dictionary(pa.int32(), pa.string()),
        }
    )
    decisions = table.to_pylist()
    assert [row["row_id"] for row in decisions] == list(range(len(rows)))
    assert [row["row_id"] for row in decisions if row["kept"]] == selection.indices.tolist()
    hardest = set(np.argsort(np.nan_to_num(results.speculative, nan=-1))[-2:].tolist())
    for row in decisions:
        row_id = row["row_id"]
        if row_id in (5, 8):
            assert row["speculative_score"] is row["loss"] is row["stratum"] is None
        else:
            assert row["speculative_score"] == results.speculative[row_id]
            assert row["loss"] == results.speculative[row_id] / 2
        if row["kept"]:
            assert row["reason"] == "kept"
        elif row_id in hardest:
            assert row["reason"] == "dropped: among the 2 hardest"
            assert row["stratum"] is None
        elif row_id not in (5, 8):
            assert row["reason"] == f"over the budget of stratum {row['stratum']}"
    assert decisions[8]["reason"] == "unscorable: no response token is left"
    assert decisions[5]["reason"].startswith("unscorable: ")
    assert "completion" in decisions[5]["reason"]
    assert [row["row_id"] for row in decisions if row["verification_score"]] == results.verified_ids.tolist()
    assert {row["reason"].split()[0] for row in decisions} == {"kept", "dropped:", "over", "unscorable:"}


def test_decisions_are_the_same_over_more_rows_than_are_written_at_a_time(pairs, tmp_path, monkeypatch):
    export(pairs[0], tmp_path / "whole.jsonl")
    monkeypatch.setattr("staff_engine.samples.decisions.ROW_GROUP", 5)
    export(pairs[0], tmp_path / "groups.jsonl")
    whole, groups = (pq.ParquetFile(tmp_path / f"{name}.decisions.parquet") for name in ("whole", "groups"))
    assert groups.num_row_groups == 3
    assert groups.read().to_pylist() == whole.read().to_pylist()


def test_the_manifest_says_what_made_the_files_and_what_is_in_them(pairs, tmp_path):
    results, _ = pairs
    changes = {"pruning_rate": 0.5, "strata": 3, "seed": 4}
    selection, returned = export(results, tmp_path / "out.csv", format="csv", with_scores=True, **changes)
    manifest = json.loads((tmp_path / "out.csv.manifest.json").read_text(encoding="utf-8"))
    assert manifest == returned
    assert manifest["program"] == "STAFF Studio"
    assert re.match(r"\d+\.\d+", manifest["version"])
    assert manifest["made_with"] == {"torch": "2.13.0"}
    assert manifest["plan"] == results.plan.model_dump(mode="json")
    assert manifest["settings"] == results.settings(**changes)
    assert (manifest["format"], manifest["with_scores"]) == ("csv", True)
    assert manifest["data"]["fingerprint"] == results.imported.facts.fingerprint
    source = hashlib.sha256((tmp_path / "pairs.jsonl").read_bytes()).hexdigest()
    assert manifest["data"]["source_sha256"] == source
    counts = manifest["counts"]
    assert counts == {
        "rows": 12, "scorable": 10, "unscorable": 2, "near_duplicates": 0, "tuned": 0, "verified": 2,
        "selected": 5, "to_verify": len(to_verify(results, **changes)),
    }  # fmt: skip
    assert counts["to_verify"] > 0
    assert [s["stratum"] for s in manifest["strata"]] == [0, 1, 2]
    assert sum(stratum["budget"] for stratum in manifest["strata"]) == 5
    for name in ("low", "high", "size", "verified", "ratio", "budget"):
        assert np.allclose([stratum[name] for stratum in manifest["strata"]], selection.strata[name])
    assert manifest["warnings"] == list(selection.warnings)
    for file, rows in zip(manifest["files"], (5, 12), strict=True):
        content = (tmp_path / file["name"]).read_bytes()
        assert (file["rows"], file["bytes"]) == (rows, len(content))
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    created = datetime.fromisoformat(manifest["created"])
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=5)


# What is refused


def test_an_unknown_format_is_refused_with_those_there_are(pairs, tmp_path):
    with pytest.raises(
        PlanError, match=f"unknown export format 'xlsx'; allowed: {', '.join(EXPORT_FORMATS)}"
    ):
        export(pairs[0], tmp_path / "out.xlsx", format="xlsx")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("nowhere/out.jsonl", r"folder .*nowhere does not exist"),
        ("run", "is a folder"),
        ("out.jsonl.gz", r"not compressed; remove \.gz"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_any_work(pairs, tmp_path, out, message):
    with pytest.raises(StaffError, match=message):
        check_export(tmp_path / out, "jsonl")
    with pytest.raises(StaffError, match=message):
        export(pairs[0], tmp_path / out)


@pytest.mark.parametrize("name", ["pairs.jsonl", "link.jsonl", "run/dataset/source.jsonl"])
def test_the_data_are_never_overwritten(pairs, tmp_path, name):
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "pairs.jsonl")
    before = (tmp_path / name).read_bytes()
    with pytest.raises(StaffError, match="is the data that the coreset is selected from"):
        export(pairs[0], tmp_path / name)
    assert (tmp_path / name).read_bytes() == before


def test_data_that_lie_where_the_decisions_would_go_are_not_overwritten_either(tmp_path):
    source = tmp_path / "out.decisions.parquet"
    pq.write_table(pa.table({"prompt": ["a", "b"], "completion": ["c", "d"]}), source)
    results = make_run(tmp_path / "run", source)
    with pytest.raises(StaffError, match="is the data"):
        export(results, tmp_path / "out.jsonl", **ALL)


def test_a_failed_export_leaves_the_files_of_the_last_one_as_they_were(pairs, tmp_path, monkeypatch):
    export(pairs[0], tmp_path / "out.jsonl", seed=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("staff_engine.export.coreset.write_manifest", full)
    with pytest.raises(OSError, match="No space left"):
        export(pairs[0], tmp_path / "out.jsonl", seed=2, pruning_rate=0.5)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_exports_of_one_name_share_the_decisions_only_of_the_same_selection(pairs, tmp_path):
    export(pairs[0], tmp_path / "out.jsonl")
    decisions = (tmp_path / "out.decisions.parquet").read_bytes()
    export(pairs[0], tmp_path / "out.csv", format="csv")
    assert (tmp_path / "out.decisions.parquet").read_bytes() == decisions
    with pytest.raises(StaffError, match=r"out.decisions.parquet belongs to the export out.csv"):
        export(pairs[0], tmp_path / "out.json", format="json", seed=2, pruning_rate=0.5)
    assert (tmp_path / "out.decisions.parquet").read_bytes() == decisions
    assert not list(tmp_path.glob("out.json*.part")) and not (tmp_path / "out.json").exists()
    export(pairs[0], tmp_path / "out.json", format="json", seed=2, pruning_rate=0.5, overwrite=True)
    assert (tmp_path / "out.decisions.parquet").read_bytes() != decisions


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "alpaca"])
def test_an_import_that_lost_rows_is_not_exported_short(pairs, tmp_path, format):
    path = pairs[0].imported.folder / "rows.arrow"
    with path.open("rb") as file:
        table = pa.ipc.open_stream(file).read_all()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table.slice(0, 6))
    with pytest.raises(StaffError, match="is damaged: it has 5 of 10 rows"):
        export(pairs[0], tmp_path / "out.json", format=format, **ALL)
    assert not (tmp_path / "out.json").exists()


# Speed and weight


def test_writing_jsonl_imports_neither_pandas_nor_datasets_nor_torch(pairs, tmp_path):
    program = (
        "import sys; from pathlib import Path; from staff_engine.runs.results import open_results;"
        "from staff_engine.export.coreset import export_coreset; r = open_results(Path(sys.argv[1]));"
        "export_coreset(r, r.select(), r.settings(), Path(sys.argv[2]), with_scores=True);"
        "print([m for m in ('pandas', 'datasets', 'torch', 'transformers', 'scipy') if m in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(pairs[0].folder), str(tmp_path / "out.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "out.jsonl").exists()
