"""Arrays to columns and back, the same as pyarrow makes them, without pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.system.arrow import by_row, read_table, texts, to_arrow, to_numpy

ARRAYS = [
    np.arange(11, dtype=np.int64),
    np.arange(11, dtype=np.int32)[::2],
    np.linspace(0, 1, 19),
    np.arange(19) % 3 == 0,
    np.array([], dtype=np.float64),
    np.array([], dtype=bool),
]


@pytest.mark.parametrize("values", ARRAYS, ids=lambda values: f"{values.dtype}-{len(values)}")
def test_a_column_is_what_pyarrow_makes_of_the_array(values):
    column = to_arrow(values)
    column.validate(full=True)
    assert column.equals(pa.array(values))


@pytest.mark.parametrize("values", ARRAYS, ids=lambda values: f"{values.dtype}-{len(values)}")
def test_values_that_are_not_valid_are_null(values):
    valid = np.arange(len(values)) % 4 != 1
    column = to_arrow(values, valid)
    column.validate(full=True)
    assert column.equals(pa.array(values, mask=~valid))


def test_the_values_of_some_rows_become_a_column_of_all():
    column = by_row(5, np.array([3, 0]), np.array([1.5, 2.5], np.float32))
    np.testing.assert_array_equal(column, [2.5, np.nan, np.nan, 1.5, np.nan])
    assert column.dtype == np.float64
    counts = by_row(4, np.array([2, 1]), np.array([7, 8], np.int32), missing=0)
    assert (counts.dtype, counts.tolist()) == (np.int64, [0, 8, 7, 0])
    assert np.isnan(by_row(2, np.zeros(0, np.int64), np.zeros(0))).all()


def test_texts_become_a_column():
    column = texts(["", "қазақ", "a\nb", "😀"])
    column.validate(full=True)
    assert column.equals(pa.array(["", "қазақ", "a\nb", "😀"]))


@pytest.mark.parametrize(
    "values", [v for v in ARRAYS if v.dtype != bool], ids=lambda values: str(len(values))
)
def test_a_column_in_chunks_becomes_one_array(values):
    chunked = pa.chunked_array([pa.array(values), pa.array(values)])
    array = to_numpy(chunked)
    assert array.dtype == values.dtype
    assert (array == np.concatenate([values, values])).all()


def test_a_table_is_read_with_the_columns_that_are_asked_for(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"], "c": [0.5, 1.5]}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", ["c", "a"]).to_pylist() == [
        {"c": 0.5, "a": 1},
        {"c": 1.5, "a": 2},
    ]
    assert read_table(tmp_path / "t.parquet").column_names == ["a", "b", "c"]


def test_nothing_of_it_imports_pandas(tmp_path):
    pq.write_table(pa.table({"a": [1.0, 2.0]}), tmp_path / "t.parquet")
    program = (
        "import sys, numpy as np; from pathlib import Path; from staff_engine.system.arrow import *;"
        "to_numpy(read_table(Path(sys.argv[1]))['a']); texts(['a']); to_arrow(np.ones(3), np.ones(3, bool));"
        "print('pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "t.parquet")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"
