import gzip
import json
import tracemalloc

import pandas as pd
import pyarrow as pa
import pytest

from staff_engine.data.builtin.tasks import task_rows
from staff_engine.data.dataset import import_dataset, open_imported
from staff_engine.data.reading import Reading
from staff_engine.errors import DatasetError

PAIR = {"prompt": "q", "completion": "a"}
LINE = json.dumps(PAIR).encode()


def load(tmp_path, name, content, **settings):
    path = tmp_path / name
    path.write_bytes(content)
    others = {name: settings.pop(name) for name in ("limit", "on_progress") if name in settings}
    return import_dataset(str(path), tmp_path / f"imported-{name}", Reading(**settings), **others)


def problems(imported):
    return [problem for problem in imported.rows["problem"] if problem]


def zstd(content):
    return pa.Codec("zstd").compress(content, asbytes=True)


def parquet(tmp_path, rows):
    pd.DataFrame(rows).to_parquet(tmp_path / "made")
    return (tmp_path / "made").read_bytes()


def make(tmp_path, name, rows):
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    if name.endswith(".csv"):
        return pd.DataFrame(rows).to_csv(index=False).encode()
    if name.endswith(".parquet"):
        return parquet(tmp_path, rows)
    content = json.dumps(rows).encode() if name.startswith("array") else lines
    content = json.dumps({"data": rows}).encode() if name.startswith("object") else content
    return (
        gzip.compress(content)
        if name.endswith(".gz")
        else zstd(content)
        if name.endswith(".zst")
        else content
    )


SOURCES = [
    "a.jsonl", "lines.json", "array.json", "object.json", "a.csv", "a.parquet", "a.jsonl.gz", "a.jsonl.zst",
    "array.json.gz",
]  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_file_gives_the_same_samples(tmp_path, name):
    rows = [{"prompt": f'q {i} ü\n"x"', "completion": f"a,{i}"} for i in range(30)]
    imported = load(tmp_path, name, make(tmp_path, name, rows))
    assert imported.facts.rows == 30
    assert (
        imported.facts.fingerprint
        == load(tmp_path, "b.jsonl", make(tmp_path, "b.jsonl", rows)).facts.fingerprint
    )
    assert [turns[1]["content"] for turns in imported.rows["turns"]] == [row["completion"] for row in rows]
    assert not problems(imported)


def test_another_sample_gives_another_fingerprint(tmp_path):
    other = json.dumps({"prompt": "q", "completion": "b"}).encode()
    first, second = load(tmp_path, "a.jsonl", LINE), load(tmp_path, "b.jsonl", other)
    assert first.facts.fingerprint != second.facts.fingerprint


@pytest.mark.parametrize(
    "content",
    [
        LINE + b"\n" + LINE,
        LINE + b"\r\n\r\n" + LINE + b"\r\n",
        b"\xef\xbb\xbf" + LINE + b"\n  \n\n" + LINE + b"\n",
    ],
)
def test_bom_line_ends_and_blank_lines_are_no_part_of_a_row(tmp_path, content):
    imported = load(tmp_path, "a.jsonl", content)
    source = (imported.folder / "source.jsonl").read_bytes()
    assert source == content
    ranges = zip(imported.rows["start"], imported.rows["end"], strict=True)
    assert [source[start:end] for start, end in ranges] == [LINE, LINE]
    assert not problems(imported)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"prompt": "q', r"line 2: not JSON \(Unterminated string"),
        (b'{"prompt": "\xff", "completion": "a"}', r"line 2: not UTF-8 \(byte 13\)"),
        (b'{"prompt": "\x00", "completion": "a"}', "line 2: not JSON .Invalid control character"),
        (
            b'{"prompt": "\\ud800", "completion": "a"}',
            r"line 2: 'prompt' is not valid text \(\\ud800 is an unpaired surrogate\)",
        ),
        (b"[" * 100_000, "line 2: not JSON .maximum recursion"),
        (b"9" * 5000, "line 2: not JSON .Exceeds the limit"),
        (b"[1, 2]", "line 2: is a JSON list, should be an object"),
        (b'{"prompt": "q"}', "line 2: has no 'completion'"),
        (b'{"prompt": 1, "completion": ["a"]}', "line 2: 'completion' is a list"),
        (b'{"messages": []}', "line 2: has no 'prompt'"),
    ],
)
def test_a_row_that_cannot_be_used_stays_with_its_reason(tmp_path, line, says):
    imported = load(tmp_path, "a.jsonl", b"\n".join([LINE, line, LINE]))
    assert imported.rows["row_id"][:] == [0, 1, 2]
    assert [bool(turns) for turns in imported.rows["turns"]] == [True, False, True]
    [problem] = problems(imported)
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(problem)


def test_odd_rows_that_can_be_used_are_used(tmp_path):
    odd = [
        b'{"prompt": "q", "completion": "a", "completion": "b"}',
        b'{"prompt": "", "completion": "a"}',
        b'{"prompt": 0.5, "completion": 12345678901234567890}',
        b'{"prompt": "' + b"x" * 5_000_000 + b'", "completion": "a"}',
    ]
    imported = load(tmp_path, "a.jsonl", b"\n".join([LINE, *odd]))
    assert not problems(imported)
    responses = [turns[1]["content"] for turns in imported.rows["turns"]]
    assert responses == ["a", "b", "a", "12345678901234567890", "a"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"", "a.jsonl has no usable row: it is empty"),
        ("a.jsonl", b"\n \n", "a.jsonl has no usable row: it is empty"),
        ("a.jsonl", b"{\n{", "a.jsonl has no usable row: line 1: not JSON"),
        (
            "a.jsonl",
            b'{"prompt": "", "completion": ""}',
            "a.jsonl has no usable row: line 1: no response",
        ),
        (
            "a.jsonl",
            b'{"text": "a"}',
            "no known record format has the columns 'text'; a column of whole texts",
        ),
        ("a.json", b"{", "a.json is not JSON: Expecting"),
        ("a.json", b"3", "a.json contains a int, not an array of rows"),
        ("a.json", b'{"a": [], "b": []}', "is a JSON object with 2 lists"),
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"prompt,completion\na,b\nc\n", "a.csv, line 3: 1 fields, but the header has 2"),
        ("a.csv", b"prompt,prompt\na,b\n", "a.csv, line 1: duplicate column name 'prompt'"),
        ("a.csv", b'prompt,completion\n"a,b\n', "a.csv, line 2: unexpected end of data"),
        ("a.parquet", b"no", "a.parquet is not a Parquet file"),
        ("a.txt", LINE, r"a.txt' has an unknown file type; allowed: .jsonl .json .csv .tsv .parquet .arrow"),
        ("a.jsonl.gz", gzip.compress(LINE * 99, mtime=0)[:-9], "a.jsonl.gz' cannot be read: Truncated"),
        ("a.jsonl.zst", zstd(LINE * 99)[:-9], "a.jsonl.zst' cannot be read: Truncated"),
        ("a.jsonl.zst", LINE, "a.jsonl.zst' cannot be read: ZSTD"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(tmp_path, name, content, says):
    with pytest.raises(DatasetError, match=says):
        load(tmp_path, name, content)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("builtin:poems", "unknown built-in data set 'builtin:poems'; allowed: docstrings, kazakh, chat"),
        ("nowhere.jsonl", "'nowhere.jsonl' does not exist"),
        ("./nowhere", "'./nowhere' does not exist"),
        ("nobody/data.jsonl", "'nobody/data.jsonl' does not exist"),
        ("nobody/Data-2.5", "'nobody/Data-2.5' is not a file on this machine, and the hub cannot be reached"),
        ("nobody/nothing", "'nobody/nothing' is not a file on this machine, and the hub cannot be reached"),
    ],
)
def test_a_source_that_is_not_there_is_named(tmp_path, monkeypatch, source, says):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DatasetError, match=says):
        import_dataset(source, tmp_path / "imported")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_utf8_hurts_its_row_only(tmp_path):
    imported = load(tmp_path, "a.csv", b"prompt,completion\na,b\nc,\xff\n")
    assert len(problems(imported)) == 1
    assert imported.facts.rows == 2


def test_the_format_can_be_given_by_hand(tmp_path):
    row = b'{"prompt": "p", "completion": "c", "question": "q", "answer": "a"}'
    imported = load(tmp_path, "a.jsonl", row, format="question-answer")
    assert imported.rows["turns"][0][0]["content"] == "q"
    mapped = load(tmp_path, "b.jsonl", row, prompt_column="answer", response_column="question")
    assert [turn["content"] for turn in mapped.rows["turns"][0]] == ["a", "q"]
    assert (mapped.facts.format, mapped.facts.conversation) == ("columns", False)


def test_a_limit_reads_the_first_rows(tmp_path):
    lines = b"\n".join(json.dumps({"prompt": str(i), "completion": "a"}).encode() for i in range(50))
    imported = load(tmp_path, "a.jsonl", lines, limit=7)
    assert [turns[0]["content"] for turns in imported.rows["turns"]] == [str(i) for i in range(7)]


def test_what_stands_behind_the_limit_is_not_read(tmp_path):
    imported = load(tmp_path, "a.jsonl", b"\n".join([LINE, LINE, b"{" * 100, LINE]), limit=2)
    assert imported.facts.rows == 2
    assert (imported.folder / "source.jsonl").read_bytes().splitlines() == [LINE, LINE]


def test_a_problem_of_a_file_without_lines_names_the_row(tmp_path):
    rows = [PAIR, {"prompt": "q", "completion": ""}]
    assert problems(load(tmp_path, "array.json", json.dumps(rows).encode())) == ["row 2: no response"]


def test_the_built_in_task_is_imported_and_opened_again(tmp_path):
    imported = import_dataset("builtin:docstrings", tmp_path / "imported", limit=40)
    again = open_imported(tmp_path / "imported")
    assert again.facts == imported.facts
    assert (again.facts.rows, len(again.rows), again.facts.format) == (40, 40, "prompt-completion")


def test_a_limit_counts_the_rows_of_the_split(tmp_path):
    rows = list(task_rows("builtin:chat", "held_out"))
    imported = import_dataset("builtin:chat", tmp_path / "imported", split="held_out", limit=7)
    source = (imported.folder / "source.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in source.splitlines()] == rows[:7]


def test_a_split_that_a_task_has_not_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="unknown split 'test' of builtin:chat; allowed: train and"):
        import_dataset("builtin:chat", tmp_path / "imported", split="test")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_an_import_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="does not contain an imported data set"):
        open_imported(tmp_path)


def test_progress_is_told_and_adds_up(tmp_path):
    seen = []
    lines = (LINE + b"\n") * 2500
    load(tmp_path, "a.jsonl", lines, on_progress=seen.append)
    assert len(seen) > 1
    assert sum(seen) == 2500


def test_memory_does_not_grow_with_the_rows(tmp_path):
    def peak(rows):
        content = (json.dumps({"prompt": "q" * 500, "completion": "a"}).encode() + b"\n") * rows
        (tmp_path / f"{rows}.jsonl").write_bytes(content)
        del content
        tracemalloc.start()
        import_dataset(str(tmp_path / f"{rows}.jsonl"), tmp_path / f"imported-{rows}")
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(10)
    assert peak(20_000) < 1.5 * peak(2_000) + 1e6
