"""JSON and JSON lines as people bring them, with the right answer to each kind of trouble."""

import json

import pytest

from staff_engine.errors import DatasetError
from tests.helpers.field_data import ALPACA, lines, problems, texts


def test_json_and_jsonl_agree_on_odd_values_in_columns_that_are_not_read(load):
    odd = ['"\\ud83d"', "123456789012345678901234567890", "NaN", "1e400", '"\\u0000"']
    rows = [f'{{"instruction": "do", "output": "done", "meta": {value}}}' for value in odd]
    first, second = load("a.jsonl", "\n".join(rows)), load("a.json", f"[{', '.join(rows)}]")
    assert problems(first) == problems(second) == []
    assert first.facts.fingerprint == second.facts.fingerprint
    assert b'"meta":"\\ud83d"' in (second.folder / "source.jsonl").read_bytes()


def test_an_array_in_a_jsonl_file_is_read(load):
    imported = load("a.jsonl", "\n " + json.dumps(ALPACA, indent=1))
    assert (imported.facts.rows, problems(imported)) == (4, [])


def test_lines_with_a_comma_behind_them_say_so(load):
    with pytest.raises(DatasetError, match=r"line 1: ends with a comma; .*remove the comma after each row"):
        load("a.jsonl", "".join(json.dumps(row) + ",\n" for row in ALPACA))


def test_a_table_by_columns_as_pandas_writes_it_says_how_to_write_rows(load):
    columns = {name: {str(i): row[name] for i, row in enumerate(ALPACA)} for name in ALPACA[0]}
    with pytest.raises(DatasetError, match=r"orient='records', lines=True"):
        load("a.json", json.dumps(columns))


def test_of_two_lists_the_one_of_objects_is_read(load):
    assert load("a.json", json.dumps({"tags": ["x", "y"], "data": ALPACA, "v": 1})).facts.rows == 4


def test_two_lists_of_objects_are_named(load):
    with pytest.raises(DatasetError, match=r"2 lists .'train', 'test'.; it needs exactly one list of rows"):
        load("a.json", json.dumps({"train": ALPACA, "test": ALPACA, "n": []} | {"n": 1}))


def test_a_key_that_is_given_twice_is_reported(look):
    said = look("a.jsonl", '{"instruction": "x", "instruction": "q", "output": "a"}\n' * 2)
    assert "2 rows with the same key twice ('instruction'): the last value is used" in said


def test_unicode_line_separators_are_text(load):
    text = "one\u2028two\u2029three\x85four"
    imported = load("a.jsonl", lines([{"prompt": "p", "response": text}]))
    assert texts(imported) == [[("user", "p"), ("assistant", text)]]


def test_100000_levels_are_an_unusable_row_or_a_sentence(load):
    deep = "[" * 100_000
    for name in ("a.json", "b.jsonl"):
        with pytest.raises(DatasetError, match="not JSON"):
            load(name, f'{{"prompt": {deep}\n' * 2)
