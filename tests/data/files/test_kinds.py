"""The kinds of data files: known by their names, and read by one entry each."""

from pathlib import Path

import pytest

from staff_engine.data.counting import count_rows
from staff_engine.data.files.kinds import _BY_NAME, ALL_SUFFIXES, KINDS, FileKind, is_data_file, suffix_of
from staff_engine.data.files.lines import parse_line, read_lines
from staff_engine.data.first_rows import first_rows
from staff_engine.data.sources import in_words
from staff_engine.errors import DatasetError
from staff_engine.plan import Plan


@pytest.mark.parametrize("suffix", [*ALL_SUFFIXES, ".JSONL", ".jsonl.gz", ".ndjson.zst", ".Csv.GZ"])
def test_a_kind_is_known_by_its_suffix_in_any_case_and_behind_a_compression(suffix):
    path = Path(f"data{suffix}")
    assert is_data_file(path)
    assert suffix_of(path) in KINDS


@pytest.mark.parametrize("name", ["data.txt", "data", "data.gz", "data.txt.gz", "jsonl"])
def test_other_names_are_of_no_known_kind(name):
    assert not is_data_file(Path(name))
    with pytest.raises(DatasetError, match=r"'.*' has an unknown file type; allowed: \.jsonl \.json \.csv"):
        suffix_of(Path(name))


def test_an_entry_in_the_registry_is_all_that_a_new_kind_needs(tmp_path, monkeypatch):
    def rows(file, path):
        for line in file:
            prompt, completion = line.decode().strip().split("|")
            yield {"prompt": prompt, "completion": completion}

    kind = FileKind(".bars", "Bars", rows)
    monkeypatch.setitem(KINDS, ".bars", kind)
    monkeypatch.setitem(_BY_NAME, ".bars", kind)
    path = tmp_path / "data.bars"
    path.write_text("a|b\nc|d\n")
    first = first_rows(str(path))
    assert [turn["content"] for row in first.read(first.mapping()) for turn in row.turns] == list("abcd")
    assert in_words(str(path), first.unit) == "Bars, 8 bytes"
    plan = Plan.make(dataset=str(path), small="s", target="t")
    assert count_rows(plan, read=1, asked=1) == 2


def test_a_line_is_known_by_its_place_in_the_file(tmp_path):
    content = b'\xef\xbb\xbf{"a": 1}\r\n\n {"b": 2} \n'
    (tmp_path / "a.jsonl").write_bytes(content)
    lines = list(read_lines(tmp_path / "a.jsonl"))
    assert [content[line.start : line.end] for line in lines] == [b'{"a": 1}', b' {"b": 2} ']
    assert [line.number for line in lines] == [1, 3]
    assert [parse_line(line) for line in lines] == [{"a": 1}, {"b": 2}]
