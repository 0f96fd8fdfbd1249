"""Coresets in other formats than JSONL: tables, row ids, and what other tools read."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.errors import PlanError, StaffError
from tests.helpers.made_export import ALL, export, make_mixed, make_pairs, make_run, read_lines, write_rows


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return make_mixed(tmp_path_factory.mktemp("mixed"))


@pytest.fixture
def pairs(tmp_path):
    return make_pairs(tmp_path)


def conversations(tmp_path, *samples, name="conversations.jsonl"):
    rows = [
        {"messages": [{"role": role, "content": f"{role} {i}.{j}"} for j, role in enumerate(sample.split())]}
        for i, sample in enumerate(samples)
    ]
    return make_run(tmp_path / "run", write_rows(tmp_path / name, rows)), rows


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
    monkeypatch.setattr("staff_engine.export.tabular.CHUNK", 2)
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
    with pytest.raises(PlanError, match="indices contains only row ids"):
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
    says = f"{format} does not include the tool calls next to text of 1 row (1); jsonl does"
    assert says in manifest["warnings"]
    written = json.loads((tmp_path / "out.json").read_bytes())
    assert [row["tools"] for row in written] == ["", "", "", '[{"type": "function"}]']
    _, manifest = export(results, tmp_path / "kept.jsonl", format="messages", **ALL)
    assert not any("tool calls" in warning for warning in manifest["warnings"])
    assert read_lines(tmp_path / "kept.jsonl") == rows
