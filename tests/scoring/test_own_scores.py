"""Scores that a user adds to a run: stored, ranked by, and removed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from staff_engine.errors import DatasetError, PlanError, RunError
from staff_engine.pipelines import coreset as pipeline
from staff_engine.plan import Plan
from staff_engine.runs.results import open_results
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.scoring.own_scores import add_own_scores, own_scores, read_own_score, remove_own_score
from staff_engine.scoring.score_files import ScoreFile
from tests.helpers.made_run import UNSCORABLE, make_finished_run

NAN = float("nan")


def file_of(values, row_ids=None, **more):
    values = np.asarray(values, dtype=float)
    row_ids = np.arange(len(values)) if row_ids is None else np.asarray(row_ids)
    return ScoreFile(row_ids, {"quality": values, **more}, 0)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return make_finished_run(tmp_path)


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(NAN), min_size=3, max_size=20).filter(
        lambda values: np.isfinite(values).sum() > 1
    ),
    st.booleans(),
)
def test_the_order_of_the_values_is_that_of_the_file_or_its_reverse(tmp_path_factory, values, reverse):
    folder = tmp_path_factory.mktemp("run")
    [added] = add_own_scores(folder, file_of(values), len(values), reverse=reverse)
    kept = read_own_score(folder, added.score, len(values))
    values = np.array(values)
    known = np.isfinite(values)
    assert (np.isfinite(kept) == known).all() and (kept[known] >= 0).all()
    assert (added.rows, added.missing) == (known.sum(), (~known).sum())
    expected = values.max(where=known, initial=-np.inf) - values if reverse else values
    order = np.argsort(kept[known], kind="stable")
    assert (np.diff(expected[known][order]) >= -1e-9).all()
    if not reverse and (values[known] >= 0).all():
        np.testing.assert_array_equal(kept[known], values[known])


def test_a_run_ranks_verifies_and_cuts_by_a_score_of_its_own(run):
    before = open_results(run.folder)
    rng = np.random.default_rng(0)
    values = rng.normal(size=before.num_rows)
    values[5] = NAN
    [added] = add_own_scores(run.folder, file_of(values), before.num_rows)
    assert added.sentence.startswith("own:quality: 399 rows with a value; 1 without one")
    assert "all values raised by" in added.sentence
    results = open_results(run.folder)
    assert results.score_names == ("effort", "length-adjusted", "loss", "own:quality")
    scores = results.scores_by("own:quality")
    assert np.isfinite(scores).sum() == results.num_rows - UNSCORABLE - 1, "rows without a model's score too"
    np.testing.assert_array_equal(results.verified_by("own:quality"), results.verified_scores)
    selection = results.select(score="own:quality", pruning_rate=0.5, drop_hardest=0.1)
    assert len(selection.indices) == 196 and 5 not in selection.indices
    assert len(to_verify(results, score="own:quality"))
    cut = results.select(drop_by="own:quality", drop_hardest=0.1, pruning_rate=0.5)
    dropped = np.flatnonzero(cut.labels == -1)
    assert set(dropped) == set(np.argsort(-np.nan_to_num(scores, nan=-1))[: len(dropped)])


def test_a_score_that_the_run_does_not_have_is_named_with_those_it_has(run):
    results = open_results(run.folder)
    with pytest.raises(
        RunError, match=r"does not have the score 'own:taste'; its own scores: none; .* scores add"
    ):
        results.select(score="own:taste")


def test_names_are_made_of_the_columns_and_must_differ(tmp_path):
    values = np.arange(4.0)
    more = {"GPT-4 score (1/5)": values}
    added = add_own_scores(tmp_path, file_of(values, **more), 4)
    assert [each.score for each in added] == ["own:quality", "own:GPT-4-score-1-5"]
    assert all(Plan.make(dataset="d", small="s", target="t", score=each.score).score for each in added)
    assert own_scores(tmp_path) == ("own:GPT-4-score-1-5", "own:quality")
    with pytest.raises(DatasetError, match="already has the score own:quality; overwrite it, or rename"):
        add_own_scores(tmp_path, file_of(values), 4)
    add_own_scores(tmp_path, file_of(values + 1), 4, overwrite=True)
    assert read_own_score(tmp_path, "own:quality", 4).tolist() == [1, 2, 3, 4]
    with pytest.raises(DatasetError, match=r"columns 'a b' and 'a-b' are both called own:a-b"):
        add_own_scores(tmp_path, ScoreFile(np.arange(4), {"a b": values, "a-b": values}, 0), 4)
    with pytest.raises(DatasetError, match="column 'quality' has fewer than 2 numbers"):
        add_own_scores(tmp_path, file_of([1.0, NAN]), 2, overwrite=True)


def test_a_score_can_be_removed(tmp_path):
    add_own_scores(tmp_path, file_of([1.0, 2.0]), 2)
    with pytest.raises(DatasetError, match="has no score 'own:x'; its own scores: own:quality"):
        remove_own_score(tmp_path, "own:x")
    remove_own_score(tmp_path, "own:quality")
    assert own_scores(tmp_path) == ()


def test_a_new_run_with_a_score_of_its_own_is_refused_before_any_work(tmp_path):
    from staff_engine.system.files import write_json

    plan = Plan.make(dataset="d", small="s", target="t", drop_by="own:x")
    write_json(tmp_path / "plan.json", {"plan": plan.model_dump(mode="json")})
    with pytest.raises(PlanError, match="drop_by is 'own:x', but scores can only be added to a run that has"):
        pipeline.execute(tmp_path, None)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("ease", "score is 'ease'; allowed: effort, length-adjusted, loss, ifd, or own:NAME"),
        ("own:", "score is 'own:'"),
        ("own:../x", "score is 'own:../x'"),
        (3, "score is 3; allowed: effort"),
    ],
)
def test_a_plan_names_the_scores_that_are_allowed(value, says):
    with pytest.raises(PlanError) as refused:
        Plan.make(dataset="d", small="s", target="t", score=value)
    assert says in str(refused.value)
