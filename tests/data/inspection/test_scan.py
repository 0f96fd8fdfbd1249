import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.data.inspection import scan as module
from staff_engine.data.inspection.findings import DataChoice
from staff_engine.data.inspection.scan import LISTED, OTHER, inspect_data, reason_of
from staff_engine.errors import DatasetError

ROWS = [{"prompt": f"question {i}", "response": f"answer {i}"} for i in range(10)]
BROKEN = [
    b"{broken",
    b'{"prompt": "p"}',
    b'{"prompt": "p", "response": " "}',
    b'{"prompt": "\xff", "response": "r"}',
    b'{"prompt": "\\ud800", "response": "r"}',
    b'{"prompt": null, "response": "r"}',
    b"[1]",
]


def write(path, rows):
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))
    return path


@pytest.fixture
def look(tmp_path):
    def at(source, **settings):
        folder = tmp_path / "inspection"
        folder.mkdir(exist_ok=True)
        return inspect_data(DataChoice(dataset=str(source), **settings), folder)

    return at


def problems(tmp_path):
    return pq.read_table(tmp_path / "inspection" / "problems.parquet").to_pylist()


def test_it_finds_the_rows_and_the_problems_that_an_import_finds(tmp_path, look):
    source = write(tmp_path / "a.jsonl", [*ROWS, *BROKEN, b"", ROWS[0]])
    found = look(source)
    imported = import_dataset(str(source), tmp_path / "imported")
    with pa.memory_map(str(tmp_path / "imported" / "rows.arrow")) as file, pa.ipc.open_stream(file) as stream:
        rows = stream.read_all().to_pylist()
    assert found.rows == imported.facts.rows == len(rows)
    assert found.usable == sum(row["problem"] is None for row in rows)
    expected = [row["problem"] for row in rows if row["problem"]]
    assert [f"line {row['number']}: {row['detail']}" for row in problems(tmp_path)] == expected
    assert found.format == imported.facts.format
    assert sum(found.reasons.values()) == found.listed == len(BROKEN)


def test_alike_reasons_count_as_one_and_the_most_frequent_comes_first(tmp_path, look):
    rows = [*ROWS, b"{x", b"{xx", b'{"xxx"', b'{"prompt": "p"}']
    found = look(write(tmp_path / "a.jsonl", rows))
    assert found.reasons == {"not JSON": 3, "has no 'response'": 1}
    assert len({row["detail"] for row in problems(tmp_path)}) > 2
    assert problems(tmp_path)[0] | {"detail": ""} == {
        "number": 11, "reason": "not JSON", "detail": "", "text": "{x"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        ("not UTF-8 (byte 12)", "not UTF-8"),
        ("'a' is not valid text (\\udfff is an unpaired surrogate)", "'a' is not valid text"),
        ("no response", "no response"),
    ],
)
def test_a_reason_leaves_out_what_is_special_to_a_row(problem, reason):
    assert reason_of(problem) == reason


def test_lengths_are_those_of_all_that_is_read_and_all_that_is_said(tmp_path, look):
    turns = [
        {"role": "system", "content": "12"},
        {"role": "user", "content": "345"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "6789"},
        {"role": "assistant", "content": "23456"},
    ]
    found = look(write(tmp_path / "a.jsonl", [{"messages": turns}]))
    assert (found.prompt.median, found.response.median) == (9, 6)


def test_repeated_rows_and_different_responses_are_counted_with_their_places(tmp_path, look):
    same, other = {"prompt": "p", "response": "r"}, {"prompt": "p", "response": "s"}
    found = look(write(tmp_path / "a.jsonl", [same, ROWS[0], same, other, same, ROWS[1]]))
    assert (found.same.groups, found.same.rows, found.same.extra) == (1, 3, 2)
    assert found.same.examples[0].numbers == (1, 3, 5)
    assert (found.same.examples[0].prompt, found.same.examples[0].responses) == ("p", ("r",))
    assert (found.conflicts.groups, found.conflicts.rows) == (1, 2)
    assert found.conflicts.examples[0].numbers == (1, 4)
    assert found.conflicts.examples[0].responses == ("r", "s")


def test_the_turns_order_and_roles_tell_rows_apart(tmp_path, look):
    def row(*turns):
        return {"messages": [{"role": role, "content": text} for role, text in turns]}

    rows = [
        row(("user", "ab"), ("assistant", "c")),
        row(("user", "a"), ("assistant", "bc")),
        row(("system", "ab"), ("user", ""), ("assistant", "c")),
    ]
    found = look(write(tmp_path / "a.jsonl", rows))
    assert found.same.groups == found.conflicts.groups == 0


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.json", "a.jsonl.zst"])
def test_the_same_rows_in_another_kind_of_file_have_the_same_findings(tmp_path, look, name):
    rows = [*ROWS, ROWS[3], {"prompt": "question 4", "response": "another"}]
    expected = look(write(tmp_path / "a.jsonl", rows))
    path = tmp_path / name
    if name == "a.csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    elif name == "a.parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif name == "a.json":
        path.write_text(json.dumps(rows))
    else:
        path.write_bytes(pa.Codec("zstd").compress((tmp_path / "a.jsonl").read_bytes(), asbytes=True))
    found = look(path)
    assert found == expected.model_copy(update={"unit": found.unit})
    assert found.same.examples[0].numbers == (4, 11)
    assert not (tmp_path / "inspection" / "source.jsonl").exists()


def test_a_limit_counts_rows_and_not_blank_lines(tmp_path, look):
    found = look(write(tmp_path / "a.jsonl", [ROWS[0], b"", ROWS[1], ROWS[2]]), limit=2)
    assert (found.rows, found.usable) == (2, 2)


def test_rows_none_of_which_can_be_used_are_findings_too(tmp_path, look):
    found = look(write(tmp_path / "a.jsonl", [{"prompt": "p", "response": ""}] * 3))
    assert (found.rows, found.usable, found.prompt) == (3, 0, None)
    assert found.reasons == {"no response": 3}


def test_what_no_format_fits_is_an_error_and_its_first_rows_are_kept(tmp_path, look):
    with pytest.raises(DatasetError, match="no known record format has the columns 'a'"):
        look(write(tmp_path / "a.jsonl", [{"a": 1}]))
    assert (tmp_path / "inspection" / "first.jsonl").read_text() == '{"a": 1}\n'


def test_many_kinds_of_problems_and_many_problems_are_kept_short_and_all_counted(tmp_path, look, monkeypatch):
    monkeypatch.setattr(module, "REASONS", 2)
    monkeypatch.setattr(module, "LISTED", 4)
    roles = [{"messages": [{"role": f"role {i}", "content": "x"}]} for i in range(6)]
    good = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    found = look(write(tmp_path / "a.jsonl", [good, *roles]))
    assert len(found.reasons) == 3
    assert found.reasons[OTHER] == 4
    assert sum(found.reasons.values()) == 6
    assert found.listed == len(problems(tmp_path)) == 4
    assert LISTED > 4


def test_progress_goes_on_to_the_end(tmp_path):
    said = []
    folder = tmp_path / "inspection"
    folder.mkdir()
    source = write(tmp_path / "a.jsonl", ROWS * 250)
    inspect_data(DataChoice(dataset=str(source)), folder, lambda rows, share: said.append((rows, share)))
    assert [rows for rows, _ in said] == [1000, 2000, 2500]
    assert said == sorted(said)
    assert said[-1][1] == 1.0
