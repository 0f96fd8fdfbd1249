"""Runs that verify in rounds: their budget, what a stop does, and that they end."""

import json

import numpy as np
import pytest

from staff_engine.errors import PlanError
from staff_engine.pipelines import coreset as pipeline
from staff_engine.runs.results import open_results
from staff_engine.runs.verification.drawing import count_verified, to_verify
from staff_engine.runs.verification.rounds import ROUNDS_FILE
from staff_engine.selection.ratios import rounds
from tests.helpers.tiny_run import Stopped, Watch, contents, make_run

ADAPTIVE = {"adaptive": True, "allocation": "proportional", "strata": 4, "verify_per_stratum": 6}


@pytest.fixture(autouse=True)
def never_stop(monkeypatch):
    """So few samples change little; without this, most runs would end after two rounds."""
    monkeypatch.setattr(rounds, "STOP", 0.0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sources):
    folder = make_run(tmp_path_factory.mktemp("run"), sources, **ADAPTIVE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "STOP", 0.0)
        pipeline.execute(folder, Watch())
    return folder


def stored(folder):
    [found] = json.loads((folder / ROUNDS_FILE).read_text()).values()
    return found


def test_the_rounds_together_are_what_was_verified_within_the_budget_of_even_verification(finished):
    results = open_results(finished)
    found = stored(finished)
    assert len(found) > 1
    assert sorted(row for each in found for row in each) == results.verified_ids.tolist()
    even = count_verified(results)
    assert len(results.verified_ids) <= even == 24
    assert len(to_verify(results)) == 0
    assert len(to_verify(results, adaptive=False)) > 0, "not every stratum has the same number"
    assert len(results.select().indices) == 12


@pytest.mark.parametrize("after", [5, 11])
def test_a_stopped_run_goes_on_with_the_same_rounds(finished, tmp_path, sources, after):
    folder = make_run(tmp_path / "run", sources, **ADAPTIVE)
    watch = Watch("verify", after)
    with pytest.raises(Stopped):
        pipeline.execute(folder, watch)
    pipeline.execute(folder, Watch())
    assert stored(folder) == stored(finished)
    for whole, resumed in zip(contents(finished), contents(folder), strict=True):
        np.testing.assert_allclose(whole, resumed, rtol=1e-5)
    np.testing.assert_array_equal(contents(finished)[-1], contents(folder)[-1])


def test_a_finished_run_verifies_in_rounds_what_other_strata_need_and_then_nothing_more(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, allocation="normalized")
    pipeline.execute(folder, Watch())
    before = open_results(folder).verified_ids
    settings = {"adaptive": True, "strata": 5, "verify_per_stratum": 6}
    pipeline.verify_missing(folder, Watch(), settings)
    results = open_results(folder)
    assert set(before) < set(results.verified_ids)
    assert len(to_verify(results, **settings)) == 0
    stored_rounds = stored(folder)
    pipeline.verify_missing(folder, Watch(), settings)
    assert stored(folder) == stored_rounds


def test_a_plan_with_the_papers_allocation_is_refused_before_any_work(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, adaptive=True)
    with pytest.raises(PlanError, match="adaptive verification does not work with allocation 'paper'"):
        pipeline.execute(folder, Watch())
    assert not (folder / "dataset").exists()


def test_selecting_with_the_papers_allocation_needs_an_even_verification(finished):
    results = open_results(finished)
    np.testing.assert_array_equal(
        to_verify(results, allocation="paper"), to_verify(results, allocation="paper", adaptive=False)
    )


@pytest.mark.parametrize("stage", [None, "verify without prompt"])
def test_rounds_by_ifd_know_the_targets_ifd_of_the_earlier_ones(tmp_path, sources, stage):
    folder = make_run(tmp_path / "run", sources, **ADAPTIVE, score="ifd")
    if stage:
        with pytest.raises(Stopped):
            pipeline.execute(folder, Watch(stage, 1))
    pipeline.execute(folder, Watch())
    results = open_results(folder)
    assert len(stored(folder)) > 1
    assert np.isfinite(results.verified_by("ifd")).all()
    assert sorted(row for each in stored(folder) for row in each) == results.verified_ids.tolist()
