"""Coresets written to files: bytes as imported, other formats, decisions and manifest."""

import csv
import hashlib
import json
import random
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.dataset import import_dataset
from staff_engine.errors import PlanError, StaffError
from staff_engine.export import EXPORT_FORMATS, check_export, export_coreset
from staff_engine.plan import Plan
from staff_engine.results import open_results

ALL = {"pruning_rate": 0.0, "drop_hardest": 0.0}
STAFF_INSERTED = re.compile(rb'(, )?"_staff": \{[^{}]*\}')


def make_run(folder, source, *, unscorable=(), **plan):
    """A finished run of a source: lognormal scores, every fifth sample verified."""
    import_dataset(str(source), folder / "dataset", format=plan.get("format"))
    plan = Plan.make(**{"dataset": str(source), "small": "s", "target": "t", "strata": 5, **plan})
    content = {"plan": plan.model_dump(mode="json"), "versions": {"torch": "2.13.0"}, "name": "mine"}
    (folder / "plan.json").write_text(json.dumps(content), encoding="utf-8")
    imported = open_results(folder).imported
    hurt = {i: reason for i, reason in enumerate(imported.rows["problem"]) if reason} | dict(unscorable)
    rows = np.array([i for i in range(imported.facts.rows) if i not in hurt])
    effort = np.random.default_rng(7).lognormal(size=len(rows))
    write_part(folder / "speculative", row_id=rows, effort=effort, loss=effort / 2)
    write_part(folder / "verification", row_id=rows[::5], effort=effort[::5] * 3, loss=effort[::5])
    table = pa.table({"row_id": pa.array(hurt, pa.int64()), "reason": pa.array(hurt.values(), pa.string())})
    pq.write_table(table, folder / "unscorable.parquet")
    return open_results(folder)


def write_part(folder, **columns):
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "part-00000.parquet")


def export(results, out, *, format="jsonl", with_scores=False, **changes):
    selection = results.select(**changes)
    settings = results.settings(**changes)
    manifest = export_coreset(results, selection, settings, out, format=format, with_scores=with_scores)
    return selection, manifest


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def mixed_line(i, draw):
    """A row of messages as people write them: no two libraries would write it back alike."""
    gap = draw.choice(["", " ", "  ", "\t"])
    text = draw.choice(
        ["2+2?", r"\u0032\/2 \ud83d\ude00", "қазақша 😀", r"tab\tquote\" back\\", "} ] {", "  "]
    )
    call = '{"id":"c1", "function" : {"name":"f","arguments":"{\\"x\\": [1,  2]}"}, "type":"function"}'
    answer = draw.choice(["4", r"\u00e9", "é", "ok }"])
    more = draw.choice(["", f', "tool_calls":[ {call} ]', ', "name": null'])
    reply = f'{{"role":"assistant", "content" :"{answer} {i}"{more}}}'
    optional = [
        f'"id" :{gap}{i}',
        '"big": 123456789012345678901234567890',
        '"float": [1.10, 1e400, -0.0, 1E+2, 0.1000000000000000055]',
        '"same": 1, "same": 2',
        '"nothing": null',
        f'"nested":{gap}{{ "a" : {{"b":[ ]}}, "text": "}}" }}',
        r'"\u006bey": "escaped key"',
        '"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]',
    ]
    fields = draw.sample(optional, draw.randrange(len(optional) + 1))
    turns = f'"messages":{gap}[{{"role": "user", "content": "{text} {i}"}},{gap}{reply}]'
    fields.insert(draw.randrange(len(fields) + 1), turns)
    return (
        f"{draw.choice(['', ' '])}{{{gap}{f',{gap}'.join(fields)}{gap}}}{draw.choice(['', '', ' '])}".encode()
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """1,000 mixed rows: a byte order mark, CRLF here and there, blank lines, no line feed at the end."""
    folder = tmp_path_factory.mktemp("mixed")
    draw = random.Random(0)
    lines = [mixed_line(i, draw) for i in range(1000)]
    ends = [draw.choice([b"\n", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n"]) for _ in lines]
    ends[-1] = b""
    source = folder / "mixed.jsonl"
    source.write_bytes(b"\xef\xbb\xbf" + b"".join(map(bytes.__add__, lines, ends)))
    return make_run(folder / "run", source), lines


@pytest.fixture
def pairs(tmp_path):
    """Twelve pairs, one of them with fields of its own, one hurt and one unscorable."""
    rows = [{"prompt": f"question {i}", "completion": f"answer, {i}"} for i in range(12)]
    rows[3] |= {"tags": ["a", "ү"], "weight": 0.5, "note": 'a "quoted"\nline'}
    rows[5]["completion"] = ["x"]
    source = write_rows(tmp_path / "pairs.jsonl", rows)
    return make_run(tmp_path / "run", source, unscorable={8: "no response token is left"}), rows


def conversations(tmp_path, *samples, name="conversations.jsonl"):
    rows = [
        {"messages": [{"role": role, "content": f"{role} {i}.{j}"} for j, role in enumerate(sample.split())]}
        for i, sample in enumerate(samples)
    ]
    return make_run(tmp_path / "run", write_rows(tmp_path / name, rows)), rows


def read_lines(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


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
    with pytest.raises(StaffError, match=r"row 0: the row has a field '_staff' already"):
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


# The other formats


def test_json_is_an_array_of_the_same_bytes(mixed, tmp_path):
    results, lines = mixed
    selection, _ = export(results, tmp_path / "out.json", format="json", pruning_rate=0.9)
    assert (tmp_path / "out.json").read_bytes() == b"[\n" + b",\n".join(
        lines[i] for i in selection.indices
    ) + b"\n]\n"
    assert len(json.loads((tmp_path / "out.json").read_bytes())) == 100


def test_csv_has_the_fields_of_all_rows_with_text_as_it_is_and_the_rest_as_json(pairs, tmp_path):
    selection, _ = export(pairs[0], tmp_path / "out.csv", format="csv", **ALL)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == ["prompt", "completion", "tags", "weight", "note"]
    assert [row["prompt"] for row in written] == [f"question {i}" for i in selection.indices]
    assert written[3]["tags"] == '["a", "ү"]'
    assert written[3]["weight"] == "0.5"
    assert written[3]["note"] == 'a "quoted"\nline'
    assert written[0]["tags"] == written[0]["note"] == ""


def test_csv_gives_each_score_a_column(pairs, tmp_path):
    export(pairs[0], tmp_path / "out.csv", format="csv", with_scores=True, **ALL)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        row = list(csv.DictReader(file))[1]
    assert row["_staff.row_id"] == "1"
    assert float(row["_staff.speculative_score"]) == pairs[0].speculative[1]
    assert row["_staff.verification_score"] == ""


def test_parquet_keeps_types_and_nested_values(pairs, tmp_path):
    export(pairs[0], tmp_path / "out.parquet", format="parquet", with_scores=True, **ALL)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.field("weight").type == pa.float64()
    row = table.to_pylist()[3]
    assert row.pop("_staff")["row_id"] == 3
    assert row == pairs[1][3]


def test_parquet_takes_any_mixture_of_values_over_more_rows_than_it_reads_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("staff_engine.tabular.CHUNK", 2)
    values = {
        "mixed": [1, "a", [2], None, {"b": 1.5}, True],
        "number": [2**53 + 1, None, 2.5, None, 1, 1],
        "float": [1, 2, 2.5, None, 3, 4],
        "huge": [2**80, 1, 2, 3, 4, 5],
        "empty": [{}, None, {}, None, None, {}],
        "late": [[], [], None, [], ["x"], []],
        "objects": [{"a": 1}, {"b": "x"}, None, {"a": 2, "c": []}, {"c": [1]}, {"a": None}],
        "half": ["a", "\ud83d", "b", "c", "d", "e"],
        "never": [None] * 6,
    }
    rows = [{"prompt": "p", "completion": "c"} | {k: v[i] for k, v in values.items()} for i in range(6)]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    export(make_run(tmp_path / "run", source), tmp_path / "out.parquet", format="parquet", **ALL)
    table = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert table["mixed"] == ["1", "a", "[2]", None, '{"b": 1.5}', "true"]
    assert table["number"] == [str(2**53 + 1), None, "2.5", None, "1", "1"]
    assert table["float"] == [1.0, 2.0, 2.5, None, 3.0, 4.0]
    assert table["huge"] == [str(2**80), "1", "2", "3", "4", "5"]
    assert table["empty"] == ["{}", None, "{}", None, None, "{}"]
    assert table["late"] == [[], [], None, [], ["x"], []]
    assert table["objects"][3] == {"a": 2, "b": None, "c": []}
    assert table["half"] == ["a", "?", "b", "c", "d", "e"]
    assert table["never"] == [None] * 6


def test_parquet_writes_an_object_with_ever_new_keys_as_text(tmp_path):
    rows = [{"prompt": "p", "completion": "c", "lookup": {f"key {i}": i}} for i in range(300)]
    results = make_run(tmp_path / "run", write_rows(tmp_path / "rows.jsonl", rows))
    export(results, tmp_path / "out.parquet", format="parquet", **ALL)
    assert pq.read_table(tmp_path / "out.parquet")["lookup"][299].as_py() == '{"key 299": 299}'


def test_indices_are_row_ids_one_a_line_or_a_numpy_array(pairs, tmp_path):
    selection, _ = export(pairs[0], tmp_path / "ids.txt", format="indices")
    assert (tmp_path / "ids.txt").read_text() == "".join(f"{i}\n" for i in selection.indices)
    export(pairs[0], tmp_path / "ids.npy", format="indices")
    array = np.load(tmp_path / "ids.npy")
    assert array.dtype == np.int64
    assert (array == selection.indices).all()


def test_indices_hold_no_scores(pairs, tmp_path):
    with pytest.raises(PlanError, match="indices hold row ids only"):
        export(pairs[0], tmp_path / "ids.txt", format="indices", with_scores=True)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("alpaca", {"instruction": "question 0", "input": "", "output": "answer, 0"}),
        (
            "messages",
            {
                "messages": [
                    {"role": "user", "content": "question 0"},
                    {"role": "assistant", "content": "answer, 0"},
                ]
            },
        ),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "human", "value": "question 0"},
                    {"from": "gpt", "value": "answer, 0"},
                ]
            },
        ),
    ],
)
def test_pairs_are_laid_out_as_other_tools_read_them(pairs, tmp_path, layout, expected):
    export(pairs[0], tmp_path / "out.jsonl", format=layout, **ALL)
    export(pairs[0], tmp_path / "out.json", format=layout, **ALL)
    written = read_lines(tmp_path / "out.jsonl")
    assert written[0] == expected
    assert len(written) == 10
    assert json.loads((tmp_path / "out.json").read_bytes()) == written


def test_a_layout_with_scores_has_them_in_a_last_field_of_its_own(tmp_path):
    results, _ = conversations(tmp_path, "user assistant", "user assistant user assistant", "user assistant")
    export(results, tmp_path / "out.jsonl", format="alpaca", with_scores=True, **ALL)
    for i, row in enumerate(read_lines(tmp_path / "out.jsonl")):
        assert list(row) == ["instruction", "input", "output", "history", "_staff"]
        assert row["_staff"]["row_id"] == i


def test_rows_that_are_in_the_layout_already_stay_byte_for_byte(mixed, tmp_path):
    results, lines = mixed
    export(results, tmp_path / "out.jsonl", format="messages", **ALL)
    assert (tmp_path / "out.jsonl").read_bytes() == b"".join(line + b"\n" for line in lines)


def test_rows_of_prompt_and_response_get_the_names_of_the_layout(tmp_path):
    rows = [{"prompt": f"p {i}", "response": "r", "id": i} for i in range(3)]
    results = make_run(tmp_path / "run", write_rows(tmp_path / "rows.jsonl", rows))
    export(results, tmp_path / "out.jsonl", format="prompt-completion", **ALL)
    assert read_lines(tmp_path / "out.jsonl")[0] == {"prompt": "p 0", "completion": "r"}


def test_conversations_go_into_alpaca_with_one_set_of_columns(tmp_path):
    results, _ = conversations(tmp_path, "user assistant", "system user assistant", "user assistant " * 2)
    export(results, tmp_path / "out.jsonl", format="alpaca", **ALL)
    written = read_lines(tmp_path / "out.jsonl")
    assert {tuple(sorted(row)) for row in written} == {
        ("history", "input", "instruction", "output", "system")
    }
    assert written[2]["history"] == [["user 2.0", "assistant 2.1"]]
    assert written[1]["system"] == "system 1.0"


def test_a_conversation_that_does_not_fit_is_named_and_nothing_is_written(tmp_path):
    results, _ = conversations(tmp_path, "user assistant", "user assistant user assistant", "user assistant")
    with pytest.raises(StaffError, match=r"row 1: 4 turns do not fit prompt-completion"):
        export(results, tmp_path / "out.jsonl", format="prompt-completion", **ALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conversations.jsonl", "run"]


def test_llama_factory_gets_messages_and_an_entry_beside_those_that_were_there(tmp_path):
    results, rows = conversations(tmp_path, "system user assistant", "user assistant user assistant")
    info = tmp_path / "dataset_info.json"
    info.write_text('{"identity": {"file_name": "identity.json"}}')
    _, manifest = export(results, tmp_path / "coreset.jsonl", format="llama-factory", **ALL)
    assert read_lines(tmp_path / "coreset.jsonl") == rows
    content = json.loads(info.read_text())
    assert content["identity"] == {"file_name": "identity.json"}
    assert content["coreset"]["file_name"] == "coreset.jsonl"
    assert content["coreset"]["columns"] == {"messages": "messages"}
    assert manifest["warnings"] == list(results.select(**ALL).warnings)


def test_rows_that_llama_factory_would_skip_are_counted_in_the_manifest(tmp_path):
    results, _ = conversations(tmp_path, "user assistant", "user user assistant", "user assistant assistant")
    _, manifest = export(results, tmp_path / "coreset.json", format="llama-factory", **ALL)
    assert "LLaMA-Factory will skip 2 rows (1, 2), whose turns do not alternate" in manifest["warnings"]
    assert len(json.loads((tmp_path / "coreset.json").read_bytes())) == 3


@pytest.mark.parametrize("format", ["llama-factory", "sharegpt"])
def test_rows_whose_tool_calls_a_layout_leaves_out_are_counted_in_the_manifest(tmp_path, format):
    rows = [
        {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}
        for _ in range(4)
    ]
    rows[1]["messages"][1] |= {"tool_calls": [{"function": {"name": "f"}}]}
    rows[2]["messages"][1] |= {"tool_calls": None}
    rows[3]["tools"] = [{"type": "function"}]
    results = make_run(tmp_path / "run", write_rows(tmp_path / "rows.jsonl", rows))
    _, manifest = export(results, tmp_path / "out.json", format=format, **ALL)
    assert f"{format} does not carry the tool calls of 2 rows (1, 3); jsonl does" in manifest["warnings"]
    _, manifest = export(results, tmp_path / "kept.jsonl", format="messages", **ALL)
    assert not any("tool calls" in warning for warning in manifest["warnings"])
    assert read_lines(tmp_path / "kept.jsonl") == rows


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
    monkeypatch.setattr("staff_engine.decisions.ROW_GROUP", 5)
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
        "rows": 12, "scorable": 10, "unscorable": 2, "tuned": 0, "verified": 2, "selected": 5,
        "to_verify": len(results.to_verify(**changes)),
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
    with pytest.raises(PlanError, match=f"'xlsx'; it can be {', '.join(EXPORT_FORMATS)}"):
        export(pairs[0], tmp_path / "out.xlsx", format="xlsx")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("nowhere/out.jsonl", r"folder .*nowhere does not exist"),
        ("run", "is a folder"),
        ("out.jsonl.gz", r"not compressed; leave \.gz out"),
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

    monkeypatch.setattr("staff_engine.export.write_manifest", full)
    with pytest.raises(OSError, match="No space left"):
        export(pairs[0], tmp_path / "out.jsonl", seed=2, pruning_rate=0.5)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "alpaca"])
def test_an_import_that_lost_rows_is_not_exported_short(pairs, tmp_path, format):
    path = pairs[0].imported.folder / "rows.arrow"
    with path.open("rb") as file:
        table = pa.ipc.open_stream(file).read_all()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table.slice(0, 6))
    with pytest.raises(StaffError, match="is damaged: 5 of 10 rows are there"):
        export(pairs[0], tmp_path / "out.json", format=format, **ALL)
    assert not (tmp_path / "out.json").exists()


# Speed and weight


def test_writing_jsonl_imports_neither_pandas_nor_datasets_nor_torch(pairs, tmp_path):
    program = (
        "import sys; from pathlib import Path; from staff_engine.results import open_results;"
        "from staff_engine.export import export_coreset; r = open_results(Path(sys.argv[1]));"
        "export_coreset(r, r.select(), r.settings(), Path(sys.argv[2]), with_scores=True);"
        "print([m for m in ('pandas', 'datasets', 'torch', 'transformers', 'scipy') if m in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(pairs[0].folder), str(tmp_path / "out.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "out.jsonl").exists()
