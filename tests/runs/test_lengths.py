import numpy as np
import pytest

from staff_engine.runs.lengths import response_lengths
from tests.helpers.made_export import make_run, write_rows


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
