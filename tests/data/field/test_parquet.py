"""Parquet files as people bring them, with the right answer to each kind of trouble."""

import datetime
import decimal
import json

import pyarrow as pa
import pytest

from staff_engine.errors import DatasetError
from tests.helpers.field_data import problems, texts


def test_texts_that_are_stored_as_binary_are_read_as_utf8(load):
    table = pa.table(
        {"instruction": ["ü 1".encode(), b"2"], "output": [b"a", "ж".encode()], "input": [b"", None]}
    )
    assert texts(load("a.parquet", table)) == [
        [("user", "ü 1"), ("assistant", "a")],
        [("user", "2"), ("assistant", "ж")],
    ]


def test_a_binary_cell_that_is_no_text_makes_its_row_unusable_with_column_and_reason(load):
    table = pa.table({"prompt": [b"p", b"p"], "response": [b"r", b"ab\xff"], "blob": [b"\xff", b"\x00"]})
    imported = load("a.parquet", table)
    assert problems(imported) == ["row 2: 'response' is not UTF-8 text (byte 0xff at character 3)"]


def test_a_string_column_that_is_not_utf8_is_no_error_of_python(load):
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.array([0, 2, 5], pa.int32()).buffers()[1], pa.py_buffer(b"okab\xff")]
    )
    imported = load("a.parquet", pa.table({"prompt": ["p", "p"], "response": bad}))
    assert problems(imported) == ["row 2: 'response' is not UTF-8 text (byte 0xff at character 3)"]


def test_types_that_json_does_not_have_are_read_and_none_is_out_of_range(load):
    table = pa.table(
        {
            "prompt": ["p"],
            "response": pa.array([decimal.Decimal("0.10")], pa.decimal128(10, 2)),
            "far": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
            "ns": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
            "zone": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)]),
            "took": pa.array([5], pa.duration("s")),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
            "numbered": pa.array([[(1, 2)]], pa.map_(pa.int8(), pa.int32())),
            "big": pa.array([2**64 - 1], pa.uint64()),
            "kind": pa.array(["a"]).dictionary_encode(),
            "half": pa.array([1.5], pa.float32()).cast(pa.float16()),
            "nothing": pa.nulls(1),
            "lists": pa.array([[[1], None, []]], pa.large_list(pa.list_(pa.int8()))),
            "pair": pa.array([[1, 2]], pa.list_(pa.int8(), 2)),
        }
    )
    imported = load("a.parquet", table)
    assert texts(imported) == [[("user", "p"), ("assistant", "0.10")]]
    row = json.loads((imported.folder / "source.jsonl").read_bytes())
    assert row.pop("far")
    assert row == {
        "prompt": "p",
        "response": "0.10",
        "ns": "2023-11-14 22:13:20.123456789",
        "zone": "2024-01-01 00:00:00.000000",
        "took": 5,
        "map": {"k": 1},
        "numbered": [[1, 2]],
        "big": 2**64 - 1,
        "kind": "a",
        "half": 1.5,
        "nothing": None,
        "lists": [[1], None, []],
        "pair": [1, 2],
    }


def test_nulls_and_slices_of_nested_columns_keep_their_rows(load):
    talk = [
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": f"a {i}"}] for i in range(2500)
    ]
    talk[1] = None
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    imported = load("a.parquet", pa.table({"messages": pa.array(talk, kind)}))
    assert [turns[1]["content"] if turns else None for turns in imported.rows["turns"]] == [
        None if i == 1 else f"a {i}" for i in range(2500)
    ]
    assert problems(imported) == ["row 2: 'messages' is null, should be a list"]


def test_an_object_with_a_name_twice_is_an_error_that_names_the_column(load):
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(DatasetError, match=r"column 'meta' of type struct.* cannot be read: .*twice"):
        load("a.parquet", pa.table({"prompt": ["p"], "response": ["r"], "meta": twice}))


def test_messages_as_json_text_may_begin_with_white_space(load):
    text = '\n [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]'
    assert texts(load("a.parquet", pa.table({"messages": [text]}))) == [[("user", "q"), ("assistant", "a")]]
