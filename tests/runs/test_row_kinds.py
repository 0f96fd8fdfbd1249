import numpy as np
import pytest

from staff_engine.runs.results import open_results
from staff_engine.runs.row_kinds import kinds_in_words
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))


def test_the_shares_are_those_of_the_coreset_and_of_the_scorable_rows(home, tmp_path):
    results = open_results(make_finished_run(tmp_path, 107, kinds=True).folder)  # every fourth is swapped
    said = kinds_in_words(results, np.array([0, 1, 2, 3, 5]))
    assert said == (
        "Kinds of rows in the coreset: clean 80% (in the data 75%), swapped 20% (in the data 25%)."
    )


def test_data_that_does_not_say_it_has_no_sentence(home, tmp_path):
    results = open_results(make_finished_run(tmp_path).folder)
    assert kinds_in_words(results, np.arange(5)) == ""
