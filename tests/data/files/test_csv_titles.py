"""A title above the header of a CSV file."""

import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.errors import DatasetError


def test_a_title_above_the_header_is_named_and_what_to_do(tmp_path):
    (tmp_path / "t.csv").write_text("Export of tickets;;\n\nprompt;completion;note\na;b;c\n")
    said = "line 3: 3 fields, but the header has 1; it is 'Export of tickets': if that is a title, remove it"
    with pytest.raises(DatasetError, match=said):
        import_dataset(str(tmp_path / "t.csv"), tmp_path / "made")
