"""Data as people bring it: imported, and looked at."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.data.inspection.findings import DataChoice, in_sentences
from staff_engine.data.inspection.scan import inspect_data
from staff_engine.data.reading import Reading


@pytest.fixture
def load(tmp_path):
    """Import a file with this content."""

    def loaded(name, content, **reading):
        path = tmp_path / name
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_dataset(
            str(path), tmp_path / f"imported {name} {len(list(tmp_path.iterdir()))}", Reading(**reading)
        )

    return loaded


@pytest.fixture
def look(tmp_path):
    """What the check says of a file with this content, as one text."""

    def looked(name, content, **reading):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        folder = tmp_path / "inspection"
        folder.mkdir(exist_ok=True)
        return "\n".join(
            in_sentences(inspect_data(DataChoice(dataset=str(tmp_path / name), **reading), folder))
        )

    return looked
