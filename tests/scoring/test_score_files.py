"""Files of scores: which rows they name, and what is refused."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.errors import DatasetError
from staff_engine.scoring.score_files import read_score_file

ROWS = 6


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Rows with an id "007" … and a number 10, 11, …; the last line is broken."""
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {"id": f"00{row + 7}", "number": 10 + row, "same": 1, "prompt": "p", "completion": f"c{row}"}
        for row in range(ROWS - 1)
    ]
    lines = [*map(json.dumps, rows), '{"prompt": "broken']
    (folder / "data.jsonl").write_text("\n".join(lines))
    return import_dataset(str(folder / "data.jsonl"), folder / "imported").folder


def read(path, imported, key="row_id"):
    return read_score_file(path, imported, ROWS, key=key)


def csv(tmp_path, text, name="scores.csv"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["scores.csv", "scores.csv.gz", "scores.tsv"])
def test_numbers_are_read_for_the_rows_that_the_file_names(tmp_path, imported, name):
    text = "row_id,quality,note,words\n4,0.5,a,3\n0,,b,7\n9,1.5,c,2\n"
    found = read(csv(tmp_path, text.replace(",", "\t") if "tsv" in name else text, name), imported)
    assert found.row_ids.tolist() == [4, 0] and found.unknown == 1
    assert list(found.columns) == ["quality", "words"]
    np.testing.assert_array_equal(found.columns["quality"], [0.5, np.nan])
    assert found.columns["words"].tolist() == [3, 7]


@pytest.mark.parametrize("kind", [pa.int64(), pa.int16(), pa.float64(), pa.string()])
def test_a_parquet_file_may_have_its_keys_as_any_type(tmp_path, imported, kind):
    path = tmp_path / "scores.parquet"
    keys = pa.array([2, 1]).cast(kind)
    pq.write_table(pa.table({"row_id": keys, "x": [1.0, float("inf")], "flag": [True, False]}), path)
    found = read(path, imported)
    assert found.row_ids.tolist() == [2, 1] and list(found.columns) == ["x"]
    np.testing.assert_array_equal(found.columns["x"], [1, np.nan])


def test_a_field_of_the_data_can_be_the_key(tmp_path, imported):
    by_text = read(csv(tmp_path, "id,x\n009,1\n007,2\n7,3\n"), imported, key="id")
    assert (by_text.row_ids.tolist(), by_text.unknown) == ([2, 0], 1)
    by_number = read(csv(tmp_path, "number,x\n14,1\n10,2\n"), imported, key="number")
    assert by_number.row_ids.tolist() == [4, 0] and list(by_number.columns) == ["x"]


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("row,x\n1,2\n", "row_id", "scores.csv has no column 'row_id'; its columns are row, x"),
        ("row_id,x\n1,a\n", "row_id", "scores.csv has no column of numbers; its columns are row_id, x"),
        ("row_id,x\n1,2\n3,4\n1,5\n", "row_id", "scores.csv has row_id '1' in rows 1 and 3; each value may"),
        ("row_id,x\n1,2\n,4\n", "row_id", "scores.csv has no row_id in row 2; every row needs one"),
        ("row_id,x\n17,2\n18,4\n", "row_id", "no row_id of scores.csv is in the data: 17, 18; in the data"),
        ("same,x\n1,2\n", "same", "the data has same '1' in rows 0 and 1; each value may occur once"),
        ("uid,x\n1,2\n", "uid", "no row of the data has the field 'uid'"),
        ("row_id,x\n1,2,3\n", "row_id", "scores.csv cannot be read: "),
        ("", "row_id", "scores.csv cannot be read: "),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_reason(tmp_path, imported, text, key, says):
    with pytest.raises(DatasetError) as refused:
        read(csv(tmp_path, text), imported, key=key)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("scores.parquet", b"no parquet", "cannot be read"),
        ("scores.xlsx", b"", "file type of 'scores.xlsx' is unknown; allowed: .parquet, .csv"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, imported, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=says):
        read(tmp_path / name, imported)


def test_a_file_that_does_not_exist_is_refused(tmp_path, imported):
    with pytest.raises(DatasetError, match=r"nowhere.csv cannot be read: .*No such file"):
        read(tmp_path / "nowhere.csv", imported)
