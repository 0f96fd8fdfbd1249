import numpy as np
import pytest

from staff_engine.runs.composition import kinds_in_words, response_lengths
from staff_engine.runs.results import open_results
from tests.helpers.made_export import make_run, write_rows
from tests.helpers.made_run import make_finished_run


def test_the_lengths_of_a_coreset_stand_beside_those_of_all_scorable_rows(tmp_path):
    rows = [{"prompt": f"q{i}", "completion": f"a{i}"} for i in range(20)]
    (tmp_path / "run").mkdir()
    results = make_run(tmp_path / "run", write_rows(tmp_path / "data.jsonl", rows), unscorable={0: "broken"})
    found = response_lengths(results, np.array([6, 13]))  # a row of id i has 1 + i % 7 tokens
    tokens = [1 + i % 7 for i in range(1, 20)]
    assert (found.tokens, found.coreset_median) == (14, 7)
    assert found.data_median == np.median(tokens)
    assert found.token_share == pytest.approx(14 / sum(tokens))
    assert found.sample_share == pytest.approx(2 / 19)
    assert "14 response tokens: 18.4% of all, in 10.5% of the samples" in found.sentence


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
