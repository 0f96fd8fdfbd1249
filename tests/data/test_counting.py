"""How many rows a data set has, without importing it."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.data.builtin.tasks import task_rows
from staff_engine.data.counting import count_rows
from staff_engine.plan import Plan

PLAN = Plan.make(dataset="data.jsonl", small="small", target="target")


@pytest.fixture
def rows_file(tmp_path):
    rows = [{"prompt": f"a\n{i}", "completion": "b"} for i in range(7)]

    def write(name):
        path = tmp_path / name
        plain = path.with_suffix("") if path.suffix == ".gz" else path
        if plain.suffix == ".jsonl":
            text = "\ufeff" + "\n\n".join(map(json.dumps, rows)) + "\n \n"
        elif plain.suffix == ".csv":
            text = "prompt,completion\n" + "".join(f'"{row["prompt"]}",b\n' for row in rows)
        elif plain.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
            return path
        elif name == "lines.json":
            text = "\n".join(map(json.dumps, rows))
        else:
            text = json.dumps({"data": rows})
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.json", "lines.json", "a.csv", "a.csv.gz", "a.parquet"]
)
def test_the_rows_of_a_file_are_counted_whatever_its_kind(rows_file, name):
    plan = PLAN.but(dataset=str(rows_file(name)))
    assert count_rows(plan, read=3, asked=3) == 7
    assert count_rows(plan.but(limit=5), read=3, asked=3) == 5
    assert count_rows(plan.but(limit=50), read=3, asked=3) == 7


def test_rows_that_were_all_read_are_not_counted_again():
    plan = PLAN.but(dataset="/nowhere.jsonl")
    assert count_rows(plan, read=4, asked=1000) == 4
    assert count_rows(plan.but(limit=6), read=6, asked=6) == 6


def test_a_built_in_task_is_counted_up_to_the_limit():
    plan = PLAN.but(dataset="builtin:docstrings", limit=30)
    assert count_rows(plan, read=10, asked=10) == 30


def test_a_built_in_task_is_counted_by_its_split():
    plan = PLAN.but(dataset="builtin:chat")
    counts = [count_rows(plan.but(split=split), read=10, asked=10) for split in ("train", "held_out")]
    assert counts == [len(list(task_rows("builtin:chat", split))) for split in ("train", "held_out")]
