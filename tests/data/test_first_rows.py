import gzip
import json
import os

import pyarrow as pa
import pytest

from staff_engine.data import first_rows as module
from staff_engine.data.files import json_arrays
from staff_engine.data.first_rows import FIRST, first_rows
from staff_engine.data.reading import Mapping, Reading
from staff_engine.data.sources import find_file, in_words, is_on_hub, is_upload, keep_upload, shown_source
from staff_engine.errors import DatasetError

PAIR = {"question": "q", "answer": "a"}


def write(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def test_rows_are_read_as_a_run_reads_them_with_what_is_wrong_and_where(tmp_path):
    source = write(tmp_path / "a.jsonl", [PAIR, "{broken", "", {"question": "q"}, {**PAIR, "answer": " "}])
    first = first_rows(source)
    read = first.read(first.mapping())
    assert [row.number for row in read] == [1, 2, 4, 5]
    assert [turn["role"] for turn in read[0].turns] == ["user", "assistant"]
    assert read[0].problem is None
    assert read[1].problem.startswith("not JSON")
    assert read[1].text == "{broken"
    assert [row.problem for row in read[2:]] == ["has no 'answer'", "no response"]


def test_the_format_is_detected_and_can_be_chosen_by_hand(tmp_path):
    first = first_rows(write(tmp_path / "a.jsonl", [{**PAIR, "hint": "h"}]))
    assert first.mapping() == Mapping("question-answer", "question", "answer")
    by_hand = first.mapping(Reading("columns", "hint", "answer"))
    assert first.read(by_hand)[0].turns[0]["content"] == "h"
    assert first.columns == ["question", "answer", "hint"]


def test_without_a_mapping_rows_are_shown_as_they_are(tmp_path):
    first = first_rows(write(tmp_path / "a.jsonl", [{"a": 1, "b": 2}]))
    with pytest.raises(DatasetError, match="'a', 'b'"):
        first.mapping()
    (row,) = first.read(None)
    assert (row.turns, row.problem, row.text) == ((), None, '{"a": 1, "b": 2}')


def test_what_is_no_text_says_so(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfa\x00\n" * 3)
    first = first_rows(str(tmp_path / "a.jsonl"))
    assert first.columns == []
    with pytest.raises(DatasetError, match=r"line 1: not UTF-8 \(byte 1\)"):
        first.mapping()
    assert first.read(None)[0].text == "\\xff\\xfa\x00"


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.jsonl.gz", "a.jsonl.zst"])
def test_every_kind_of_file_shows_its_first_rows_and_what_it_is(tmp_path, name):
    import pyarrow.parquet as pq

    rows = [{"question": f"q {i}", "answer": f"a {i}"} for i in range(5)]
    path = tmp_path / name
    lines = "\n".join(map(json.dumps, rows)).encode()
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        content = {
            "a.jsonl": lines,
            "a.json": json.dumps(rows).encode(),
            "a.csv": "\n".join(["question,answer", *(",".join(row.values()) for row in rows)]).encode(),
            "a.jsonl.gz": gzip.compress(lines),
            "a.jsonl.zst": pa.Codec("zstd").compress(lines, asbytes=True),
        }[name]
        path.write_bytes(content)
    first = first_rows(str(path))
    read = first.read(first.mapping())
    assert [row.turns[1]["content"] for row in read] == [f"a {i}" for i in range(5)]
    assert not first.more
    words = {"a.jsonl": "JSON lines", "a.json": "JSON array", "a.csv": "CSV", "a.parquet": "Parquet"}
    said = in_words(str(path), first.unit)
    assert said.startswith(words.get(name, "JSON lines, compressed with"))


def test_a_table_in_another_encoding_shows_the_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes("prompt,response\ncafé,ü\n".encode("latin-1"))
    first = first_rows(str(tmp_path / "a.csv"))
    (row,) = first.read(Mapping("prompt-completion", "prompt", "response"))
    assert row.problem == "'prompt' is not UTF-8 text (byte 0xe9 at character 4)"
    assert row.text == r'{"prompt":"caf\udce9","response":"\udcfc"}'


def test_only_the_beginning_of_a_large_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "READ_WHOLE", 3000)
    rows = [{"prompt": f"p {i}", "response": "r" * 50} for i in range(500)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    monkeypatch.setattr(json_arrays, "CHUNK", 1000)
    read = first_rows(str(tmp_path / "a.json"))
    assert (len(read.lines), read.more) == (FIRST, True)
    with (tmp_path / "a.json").open("ab") as file:
        file.write(b"what stands behind is not read")
    assert first_rows(str(tmp_path / "a.json")) == read
    source = write(tmp_path / "a.jsonl", rows)
    assert len(first_rows(source).lines) == FIRST
    assert first_rows(source).more
    (tmp_path / "lines.json").write_text((tmp_path / "a.jsonl").read_text())
    assert len(first_rows(str(tmp_path / "lines.json")).lines) == FIRST


def test_what_must_be_read_whole_and_is_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "READ_WHOLE", 3000)
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"prompt": "p" * 5000, "response": "r"}]}))
    with pytest.raises(DatasetError, match="must be read whole"):
        first_rows(str(tmp_path / "a.json"))
    monkeypatch.setenv("STAFF_MAX_VALUE", "3kB")
    (tmp_path / "a.jsonl").write_bytes(b"x" * 5000)
    with pytest.raises(DatasetError, match=r"line 1 is larger than 3\.0 kB; .* STAFF_MAX_VALUE=500MB"):
        first_rows(str(tmp_path / "a.jsonl"))
    (tmp_path / "a.parquet.gz").write_bytes(b"x" * 5000)
    with pytest.raises(DatasetError, match="decompress it first"):
        first_rows(str(tmp_path / "a.parquet.gz"))


@pytest.mark.parametrize("name", ["a.json.gz", "a.parquet.gz"])
def test_what_unpacks_to_much_and_must_be_read_whole_is_refused_in_the_preview(tmp_path, monkeypatch, name):
    monkeypatch.setattr(module, "READ_WHOLE", 3000)
    content = json.dumps({"data": [{"prompt": "p" * 5000, "response": "r"}]}).encode()
    (tmp_path / name).write_bytes(gzip.compress(content))
    assert (tmp_path / name).stat().st_size < 200
    with pytest.raises(DatasetError, match="of over"):
        first_rows(str(tmp_path / name))


def test_an_empty_file_says_so(tmp_path):
    with pytest.raises(DatasetError, match="is empty"):
        first_rows(write(tmp_path / "a.jsonl", []))


def test_a_path_is_found_with_blanks_quotes_and_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my data").mkdir()
    path = tmp_path / "my data" / "a b.jsonl"
    write(path, [PAIR])
    assert find_file("~/my data/a b.jsonl") == path
    assert find_file(f' "{path}" ') == path
    assert find_file(f"file://{path}") == path


def test_a_wrong_path_says_what_is_near(tmp_path):
    write(tmp_path / "train.jsonl", [PAIR])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DatasetError, match=r"does not exist; similar names are train\.jsonl"):
        find_file(str(tmp_path / "trian.jsonl"))
    assert find_file(str(tmp_path)) == tmp_path
    with pytest.raises(DatasetError, match="has an unknown file type"):
        find_file(str(tmp_path / "notes.txt"))
    with pytest.raises(DatasetError, match="does not exist; give a data file"):
        find_file("/nowhere/at all.jsonl")


@pytest.mark.parametrize("text", ["a\0b.jsonl", "~nobody-of-this-name/a.jsonl", "x" * 5000 + ".jsonl"])
def test_what_can_be_no_path_is_refused_in_a_sentence(text):
    with pytest.raises(DatasetError):
        find_file(text)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    source = write(tmp_path / "a.jsonl", [PAIR])

    def refuse(*arguments, **more):
        raise PermissionError(13, "Permission denied")  # root may read what nobody may

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DatasetError, match="cannot be read: Permission denied"):
        find_file(source)


def test_names_for_the_hub_are_told_from_files_without_asking_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "here.jsonl", [PAIR])
    assert is_on_hub("openai/gsm8k")
    assert is_on_hub("openai/gsm8k:main")
    assert all(map(is_on_hub, ["openai/gsm8k@v1.0:main", "openai/gsm8k@refs/convert/parquet", "squad@v1.1"]))
    assert not is_on_hub("data/gone@monday.jsonl")
    assert not any(map(is_on_hub, ["here.jsonl", "gone.jsonl", "/x/y.csv", "~/z", "builtin:docstrings"]))


def test_an_upload_is_kept_once_under_a_name_that_harms_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path))
    path = keep_upload("../../my data*.jsonl", b"{}")
    assert path == keep_upload("../../my data*.jsonl", b"{}")
    assert path.parent == tmp_path / "uploads"
    assert is_upload(str(path)) and shown_source(str(path)) == "my-data-.jsonl"
    assert path.read_bytes() == b"{}"
    assert keep_upload("my data*.jsonl", b"{ }") != path
