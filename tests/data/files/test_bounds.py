import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.data.files import bounds
from staff_engine.data.first_rows import first_rows
from staff_engine.errors import DatasetError

ROW = {"prompt": "p", "completion": "c"}


@pytest.fixture
def tight(monkeypatch):
    monkeypatch.setattr(bounds, "UNPACKED", 10_000)
    monkeypatch.setattr(bounds, "VALUE", 3_000)


def make(tmp_path, name, rows):
    path = tmp_path / name
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines))
    elif name.endswith(".zst"):
        path.write_bytes(pa.Codec("zstd").compress(lines, asbytes=True))
    else:
        path.write_bytes(lines)
    return str(path)


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.jsonl.gz", "a.parquet"])
def test_a_small_file_may_not_unpack_to_a_huge_one(tmp_path, tight, monkeypatch, name):
    monkeypatch.setattr(bounds, "EXPANSION", 0)
    source = make(tmp_path, name, [{**ROW, "prompt": "x" * 200}] * 500)
    says = r"unpacks to more than 10\.0 kB; if this is correct, raise the bound with STAFF_MAX_UNPACKED"
    with pytest.raises(DatasetError, match=says):
        import_dataset(source, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    monkeypatch.setenv("STAFF_MAX_UNPACKED", "1 MB")
    assert import_dataset(source, tmp_path / "made").facts.rows == 500


def test_a_large_file_may_unpack_to_many_times_its_size(tmp_path, tight):
    source = make(tmp_path, "a.jsonl.zst", [{**ROW, "id": i} for i in range(2000)])
    assert import_dataset(source, tmp_path / "made").facts.rows == 2000


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst", "a.parquet", "a.json"])
def test_a_value_may_not_be_huge(tmp_path, tight, monkeypatch, name):
    monkeypatch.setattr("staff_engine.data.files.json_arrays.CHUNK", 500)
    source = make(tmp_path, name, [ROW, {**ROW, "prompt": "x" * 5_000}])
    if name == "a.json":
        (tmp_path / name).write_text(json.dumps([ROW, {**ROW, "prompt": "x" * 9_000}]))
    for read in (first_rows, lambda source: import_dataset(source, tmp_path / "made")):
        with pytest.raises(DatasetError, match=r"is larger than 3\.0 kB; .*STAFF_MAX_VALUE=500MB"):
            read(source)
    monkeypatch.setenv("STAFF_MAX_VALUE", "1MB")
    assert import_dataset(source, tmp_path / "made").facts.rows == 2


def test_a_cell_of_a_table_may_not_be_huge(tmp_path, tight):
    cell = "\n".join(["x" * 1000] * 5)
    (tmp_path / "a.csv").write_text(f'prompt,response\n"{cell}",r\n')
    with pytest.raises(DatasetError, match=r"a\.csv, line \d: a cell is larger than 3\.0 kB"):
        import_dataset(str(tmp_path / "a.csv"), tmp_path / "made")


def test_a_text_that_is_repeated_in_parquet_is_in_memory_once(tmp_path, monkeypatch):
    repeated = pa.DictionaryArray.from_arrays([0] * 3000, pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"prompt": ["p"] * 3000, "response": repeated}), tmp_path / "a.parquet")
    before = pa.total_allocated_bytes()
    monkeypatch.setattr(bounds, "UNPACKED", 20_000_000)
    with pytest.raises(DatasetError, match="unpacks to more than"):
        import_dataset(str(tmp_path / "a.parquet"), tmp_path / "made")
    assert pa.total_allocated_bytes() - before < 100_000_000


@pytest.mark.parametrize("text", ["much", "-1", "0", "1XB"])
def test_a_bound_that_is_no_size_says_what_is_allowed(monkeypatch, text):
    monkeypatch.setenv("STAFF_MAX_VALUE", text)
    with pytest.raises(DatasetError, match=r"STAFF_MAX_VALUE is '.*'; allowed: a size such as 500MB or 50GB"):
        bounds.most_in_value()
