"""Exports of data as people bring it: nothing is changed, merged or dropped in silence."""

import csv
import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.export.preview import preview_export
from tests.helpers.made_export import ALL, export, make_run, read_lines, write_rows


def chat(*turns, **more):
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}


def made(tmp_path, rows, **plan):
    return make_run(tmp_path / "run", write_rows(tmp_path / "rows.jsonl", rows), **plan)


@pytest.mark.parametrize("text", ["line one\rline two", "\rx", "a\r\nb", "a\nb", "a,b\r"])
def test_a_carriage_return_in_a_text_is_read_back_as_one_row(tmp_path, text):
    rows = [{"prompt": f"p {i}", "completion": text} for i in range(28)]
    export(made(tmp_path, rows), tmp_path / "out.csv", format="csv", **ALL)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == rows


def test_parquet_to_parquet_keeps_types_and_values_of_each_row(tmp_path):
    table = pa.table(
        {
            "prompt": [f"p {i}" for i in range(40)],
            "response": pa.array([f"r {i}".encode() for i in range(40)], pa.binary()),
            "price": pa.array([decimal.Decimal(i) for i in range(40)], pa.decimal128(10, 2)),
            "when": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)] * 40),
            "day": pa.array([2**31 - 1 - i for i in range(40)], pa.int32()).cast(pa.date32()),
            "map": pa.array([[("k", i)] for i in range(40)], pa.map_(pa.string(), pa.int32())),
            "big": pa.array([2**63 + i for i in range(40)], pa.uint64()),
            "kind": pa.array(["a", "b"] * 20).dictionary_encode(),
            "blob": [b"\xff" + bytes([i]) for i in range(40)],
        }
    ).replace_schema_metadata({"about": "mine"})
    pq.write_table(table, tmp_path / "rows.parquet")
    results = make_run(tmp_path / "run", tmp_path / "rows.parquet")
    selection, _ = export(results, tmp_path / "out.parquet", format="parquet", pruning_rate=0.5)
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.schema.equals(pq.read_table(tmp_path / "rows.parquet").schema, check_metadata=True)
    assert written.equals(pq.read_table(tmp_path / "rows.parquet").take(pa.array(selection.indices)))
    export(results, tmp_path / "scored.parquet", format="parquet", with_scores=True, pruning_rate=0.5)
    scored = pq.read_table(tmp_path / "scored.parquet")
    assert scored.drop_columns("_staff").equals(written)
    assert [each["row_id"] for each in scored["_staff"].to_pylist()] == selection.indices.tolist()
    assert "# price: decimal128(10, 2)" in preview_export(results, selection, "parquet")


def test_a_limited_import_and_several_files_keep_types_too(tmp_path):
    for number in (1, 2):
        columns = {"prompt": ["a", "b"], "response": ["c", "d"], "n": pa.array([number, 9], pa.uint8())}
        pq.write_table(pa.table(columns), tmp_path / f"part-{number}.parquet")
    results = make_run(tmp_path / "run", tmp_path / "part-*.parquet", limit=3)
    export(results, tmp_path / "out.parquet", format="parquet", **ALL)
    written = pq.read_table(tmp_path / "out.parquet")
    assert (written["n"].type, written["n"].to_pylist()) == (pa.uint8(), [1, 9, 2])


def test_parquet_keeps_the_arguments_of_each_tool_call_apart(tmp_path):
    def row(**arguments):
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
        turn = {"role": "assistant", "content": None, "tool_calls": [call]}
        return {"messages": [{"role": "user", "content": "q"}, turn]}

    rows = [row(x=1, y=2), row(q="text"), row(), row(x={"deep": [1]})]
    export(made(tmp_path, rows), tmp_path / "out.parquet", format="parquet", **ALL)
    read = pq.read_table(tmp_path / "out.parquet")["messages"].to_pylist()
    calls = [turns[1]["tool_calls"][0]["function"]["arguments"] for turns in read]
    assert [json.loads(call) for call in calls] == [{"x": 1, "y": 2}, {"q": "text"}, {}, {"x": {"deep": [1]}}]


def test_arguments_with_the_same_keys_stay_objects_in_parquet(tmp_path):
    rows = [chat(("user", "q"), ("assistant", "a"), call={"arguments": {"x": i}}) for i in range(3)]
    export(made(tmp_path, rows), tmp_path / "out.parquet", format="parquet", **ALL)
    read = pq.read_table(tmp_path / "out.parquet")["call"].to_pylist()
    assert read == [{"arguments": {"x": i}} for i in range(3)]


TOOLS = '[{"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}]'
CALLING = {
    "conversations": [
        {"from": "human", "value": "Add 1."},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
        {"from": "observation", "value": '{"sum": 2}'},
        {"from": "gpt", "value": "2"},
    ],
    "system": "You can call tools.",
    "tools": TOOLS,
}


def test_llama_factory_keeps_tools_and_the_role_function_call(tmp_path):
    out = tmp_path / "out.jsonl"
    _, manifest = export(made(tmp_path, [CALLING] * 3), out, format="llama-factory", **ALL)
    (row, *_) = read_lines(tmp_path / "out.jsonl")
    assert row["tools"] == TOOLS
    assert [(turn["role"], turn["content"]) for turn in row["messages"]] == [
        ("system", "You can call tools."),
        ("user", "Add 1."),
        ("function_call", '{"name": "add", "arguments": {"a": 1}}'),
        ("tool", '{"sum": 2}'),
        ("assistant", "2"),
    ]
    entry = json.loads((tmp_path / "dataset_info.json").read_text())["out"]
    assert entry["columns"] == {"messages": "messages", "tools": "tools"}
    assert entry["tags"]["function_tag"] == "function_call"
    assert not any("skip" in warning or "tool" in warning for warning in manifest["warnings"])


def test_llama_factory_keeps_pictures_and_names_their_column(tmp_path):
    rows = [chat(("user", "<image>what?"), ("assistant", "a"), images=["p.png"], id=1)] * 2
    rows.append(chat(("user", "q"), ("assistant", "a")))
    export(made(tmp_path, rows), tmp_path / "out.jsonl", format="llama-factory", **ALL)
    assert [row["images"] for row in read_lines(tmp_path / "out.jsonl")] == [["p.png"], ["p.png"], []]
    entry = json.loads((tmp_path / "dataset_info.json").read_text())["out"]
    assert entry["columns"] == {"messages": "messages", "images": "images"}


def openai(arguments='{"a": 1}'):
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": arguments}}
    row = chat(("user", "q"), ("assistant", None), ("tool", "2"), ("assistant", "2"))
    row["tools"] = [{"type": "function"}]
    row["messages"][1]["tool_calls"] = [call]
    return row


@pytest.mark.parametrize(
    ("format", "column", "role", "text"),
    [("sharegpt", "conversations", "from", "value"), ("llama-factory", "messages", "role", "content")],
)
def test_tool_calls_become_function_calls_with_arguments_as_objects(tmp_path, format, column, role, text):
    export(made(tmp_path, [openai()] * 2), tmp_path / "out.jsonl", format=format, **ALL)
    (row, *_) = read_lines(tmp_path / "out.jsonl")
    turn = row[column][1]
    assert turn[role] == "function_call"
    assert json.loads(turn[text]) == {"name": "add", "arguments": {"a": 1}}
    assert json.loads(row["tools"]) == [{"type": "function"}]


def test_function_calls_become_tool_calls_in_messages(tmp_path):
    export(made(tmp_path, [CALLING] * 2), tmp_path / "out.jsonl", format="messages", **ALL)
    (row, *_) = read_lines(tmp_path / "out.jsonl")
    assert row["messages"][2]["tool_calls"] == [
        {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    ]
    assert row["tools"] == TOOLS


def weighted():
    row = chat(("user", "q"), ("assistant", "bad"), ("user", "again"), ("assistant", "good"))
    row["messages"][1]["weight"] = 0
    return row


def test_weights_are_kept_or_said_to_be_lost(tmp_path):
    results = made(tmp_path, [weighted(), chat(("user", "q"), ("assistant", "a"))])
    export(results, tmp_path / "out.jsonl", format="sharegpt", **ALL)
    first, second = read_lines(tmp_path / "out.jsonl")
    assert [turn.get("weight") for turn in first["conversations"]] == [None, 0, None, 1]
    assert all("weight" not in turn for turn in second["conversations"])
    for format in ("llama-factory", "alpaca"):
        _, manifest = export(results, tmp_path / f"{format}.jsonl", format=format, **ALL)
        says = f"{format} does not include the weights of turns of 1 row (0); jsonl does"
        assert says in manifest["warnings"]


def test_reasoning_goes_with_the_response_or_is_said_to_be_lost(tmp_path):
    row = chat(("user", "q"), ("assistant", "a"))
    row["messages"][1]["reasoning_content"] = "because"
    _, manifest = export(made(tmp_path, [row] * 2), tmp_path / "out.jsonl", format="sharegpt", **ALL)
    assert "because" in read_lines(tmp_path / "out.jsonl")[0]["conversations"][1]["value"]
    assert not any("reasoning" in warning for warning in manifest["warnings"])


def test_reasoning_that_is_left_out_is_said_to_be_lost(tmp_path):
    row = chat(("user", "q"), ("assistant", "a"))
    row["messages"][1]["reasoning_content"] = "because"
    results = made(tmp_path, [row] * 2, reasoning="exclude")
    _, manifest = export(results, tmp_path / "out.jsonl", format="alpaca", **ALL)
    assert "alpaca does not include the reasoning of 2 rows (0, 1); jsonl does" in manifest["warnings"]


def test_rejected_answers_are_said_to_be_lost_in_a_layout(tmp_path):
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b"}] * 2
    _, manifest = export(made(tmp_path, rows), tmp_path / "out.jsonl", format="messages", **ALL)
    assert read_lines(tmp_path / "out.jsonl")[0] == chat(("user", "q"), ("assistant", "a"))
    says = "messages does not include the rejected answers of 2 rows (0, 1); jsonl does"
    assert says in manifest["warnings"]


def test_rows_that_are_not_yet_in_a_layout_only_by_case_are_laid_out(tmp_path):
    rows = [{"Instruction": "do", "Output": "a"}] * 2
    export(made(tmp_path, rows), tmp_path / "out.jsonl", format="alpaca", **ALL)
    assert read_lines(tmp_path / "out.jsonl")[0] == {"instruction": "do", "input": "", "output": "a"}


def test_shards_come_out_byte_for_byte(tmp_path):
    lines = [b'{"prompt" : "p%d",  "completion": "c"}' % i for i in range(4)]
    (tmp_path / "part-2.jsonl").write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\r\n\n" + lines[1])
    (tmp_path / "part-10.jsonl").write_bytes(b"\n".join(lines[2:]) + b"\n")
    results = make_run(tmp_path / "run", tmp_path / "part-*.jsonl")
    export(results, tmp_path / "out.jsonl", **ALL)
    assert (tmp_path / "out.jsonl").read_bytes() == b"".join(line + b"\n" for line in lines)
