"""The coverage of a run's coresets by several methods, at one rate or more."""

from dataclasses import replace

import numpy as np
import pytest

from staff_engine.errors import PlanError
from staff_engine.runs.coverage import coverage_of_methods
from staff_engine.runs.results import open_results
from staff_engine.runs.score_tables import choose, small_scores
from tests.helpers.made_run import make_finished_run

ROWS = 200


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return open_results(make_finished_run(tmp_path, ROWS, drop_hardest=0.2, strata=8, seed=3).folder)


def test_at_each_rate_there_is_every_method_once_and_as_many_samples(results):
    table = small_scores(results)
    asked = ["grand", "staff", "grand"]
    found = list(coverage_of_methods(results, table, asked, pruning_rates=[0.9, 0.5], seed=0))
    assert [each.pruning_rate for each in found] == [0.9, 0.5]
    for each, size in zip(found, (19, 96), strict=True):
        assert each.coverage.names == ("grand", "staff")
        assert each.coverage.sizes.tolist() == [size, size]
        assert each.beta == 0.2
        np.testing.assert_array_equal(
            each.coresets["grand"], choose("grand", results, table, pruning_rate=each.pruning_rate, seed=0)
        )


def test_wrong_names_are_refused_before_any_work(results):
    with pytest.raises(PlanError, match="method is 'best'"):
        next(coverage_of_methods(results, None, ["staff", "best"], pruning_rates=[0.5], seed=0))


def test_without_embeddings_no_cluster_is_reached_or_missed(results):
    table = replace(small_scores(results), embedding=np.zeros((ROWS, 0), np.float16))
    [found] = coverage_of_methods(results, table, ["grand", "ccs"], pruning_rates=[0.5], seed=0)
    assert np.isnan(found.coverage.clusters).all()
    assert found.as_json()["methods"][0]["clusters_reached"] is None
