"""What the tests of the command line share: a home of their own, a small data set, and a run with scores."""

from pathlib import Path

import pytest

from tests.helpers.made_cli import ROWS, make_scored, write_data


@pytest.fixture
def staff_home(tmp_path, monkeypatch):
    """An empty STAFF_HOME, and a terminal of 100 columns."""
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path)


@pytest.fixture
def scored(staff_home, data):
    """A run that has all its scores, made without a model."""
    return make_scored(data, ROWS, pruning_rate=0.5)
