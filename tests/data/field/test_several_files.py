"""Folders and several files as one data set."""

import pyarrow as pa
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.errors import DatasetError
from tests.helpers.field_data import ALPACA, lines, problems


def test_a_folder_of_shards_is_one_data_set_in_natural_order(tmp_path):
    for number in (10, 2, 1):
        rows = [{"prompt": f"{number} {i}", "response": "r"} for i in range(2)]
        (tmp_path / f"part-{number}.jsonl").write_text("\n" + lines(rows).rstrip("\n"))
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "part-2.jsonl").write_text('{"prompt": "2 0", "response": "r"}\r\n\r\n{broken')
    for source in (tmp_path, tmp_path / "part-*.jsonl"):
        imported = import_dataset(str(source), tmp_path / "made" / source.name.replace("*", "all"))
        prompts = [turns[0]["content"] if turns else None for turns in imported.rows["turns"]]
        assert prompts == ["1 0", "1 1", "2 0", None, "10 0", "10 1"]
        assert problems(imported)[0].startswith("row 4 (part-2.jsonl, row 2): not JSON")
    limited = import_dataset(str(tmp_path), tmp_path / "made" / "few", limit=3)
    assert limited.facts.rows == 3


def test_a_folder_of_several_types_asks_for_a_pattern(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(ALPACA))
    (tmp_path / "b.csv").write_text("prompt,response\na,b\n")
    with pytest.raises(
        DatasetError, match=r"files of several types \(.csv, .jsonl\); choose one type with a pattern"
    ):
        import_dataset(str(tmp_path), tmp_path / "made")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="has no data files"):
        import_dataset(str(tmp_path / "empty"), tmp_path / "made")


def test_a_folder_of_save_to_disk_is_read_by_split(tmp_path):
    from datasets import Dataset, DatasetDict

    made = Dataset.from_list(ALPACA)
    made.save_to_disk(tmp_path / "one", num_shards=2)
    DatasetDict({"train": made, "test": made.select([1])}).save_to_disk(tmp_path / "both")
    assert import_dataset(str(tmp_path / "one"), tmp_path / "a").facts.rows == 4
    assert import_dataset(str(tmp_path / "both"), tmp_path / "b", split="test").facts.rows == 1
    with pytest.raises(DatasetError, match="has no split 'dev'; allowed: train, test"):
        import_dataset(str(tmp_path / "both"), tmp_path / "c", split="dev")


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_an_arrow_file_is_read(tmp_path, kind):
    table = pa.Table.from_pylist(ALPACA)
    make = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with make(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    assert import_dataset(str(tmp_path / "a.arrow"), tmp_path / "made").facts.rows == 4
