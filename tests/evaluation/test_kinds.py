"""Shares of wrong, repeated and rare rows."""

import json

import numpy as np

from staff_engine.data.dataset import import_dataset
from staff_engine.evaluation.kinds import kinds_of, shares_of


def imported(tmp_path, rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": "p", "response": "r", **row}) + "\n" for row in rows))
    return import_dataset(str(path), tmp_path / "imported")


def test_kinds_are_read_from_the_rows_and_counted_in_a_coreset(tmp_path):
    rows = [{"_kind": "clean"}, {"_kind": "swapped"}, {"_kind": "clean"}, {"_kind": "rare"}, {}]
    kinds = kinds_of(imported(tmp_path, rows))
    assert kinds.tolist() == ["clean", "swapped", "clean", "rare", ""]
    shares = shares_of(kinds, np.array([0, 1, 2, 4]))
    assert shares == {"": 0.25, "clean": 0.5, "rare": 0.0, "swapped": 0.25}


def test_data_that_does_not_say_kinds_has_none(tmp_path):
    assert kinds_of(imported(tmp_path, [{}, {"_kind": "swapped"}])) is None
