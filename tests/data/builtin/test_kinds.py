import json

import numpy as np
import pytest

from staff_engine.data.builtin.kinds import kind_shares, row_kinds
from staff_engine.data.dataset import import_dataset


def imported(tmp_path, records):
    path = tmp_path / "rows.jsonl"
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    import_dataset(str(path), tmp_path / "dataset")
    return tmp_path / "dataset"


def row(kind=None):
    return {"prompt": "p", "response": "r", **({} if kind is None else {"_kind": kind})}


def test_every_row_has_the_kind_that_it_says(tmp_path):
    records = [row("clean"), row("swapped"), "no json", row(), row(7), row("rare")]
    kinds = row_kinds(imported(tmp_path, records), len(records))
    assert kinds.tolist() == ["clean", "swapped", "", "", "", "rare"]


def test_data_without_kinds_has_none(tmp_path):
    assert row_kinds(imported(tmp_path, [row(), row("swapped")]), 2) is None


def test_shares_are_of_the_rows_asked_for_and_name_every_kind():
    kinds = np.array(["clean", "swapped", "clean", "", "rare"], dtype=object)
    assert kind_shares(kinds, np.array([0, 1, 2, 3])) == {"clean": 0.5, "rare": 0.0, "swapped": 0.25}
    assert kind_shares(kinds, np.array([], dtype=np.int64)) == {"clean": 0.0, "rare": 0.0, "swapped": 0.0}


def test_a_variant_of_a_built_in_task_says_what_it_did(tmp_path):
    import_dataset("builtin:kazakh?swapped=0.25", tmp_path / "dataset")
    from staff_engine.data.dataset import open_imported

    rows = open_imported(tmp_path / "dataset").facts.rows
    shares = kind_shares(row_kinds(tmp_path / "dataset", rows), np.arange(rows))
    assert shares["swapped"] == pytest.approx(0.25, abs=0.01)
