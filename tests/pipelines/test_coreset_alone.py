"""Runs that score responses without their prompts: at once or later, stopped, and verified further."""

from types import SimpleNamespace

import numpy as np
import pytest

from staff_engine.errors import RunError
from staff_engine.models import adapters, loading
from staff_engine.pipelines import coreset as pipeline
from staff_engine.plan import Plan
from staff_engine.runs.results import MEASURED, open_results
from staff_engine.runs.verification.drawing import to_verify, to_verify_alone
from staff_engine.scoring.losses import LossScorer, first_token
from tests.helpers.tiny_run import ROWS, Stopped, Watch, contents, make_run

STAGES = ("speculate without prompt", "verify without prompt")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sources):
    folder = make_run(tmp_path_factory.mktemp("run"), sources, score="ifd")
    watch = Watch()
    pipeline.execute(folder, watch)
    return SimpleNamespace(folder=folder, stages=watch.stages)


def both_sides(folder):
    results = open_results(folder)
    return results.scores_by("ifd"), results.verified_by("ifd")


def test_the_stages_are_those_that_the_plan_says(finished):
    plan = Plan.make(dataset="d", small="s", target="t", ifd=True)
    assert tuple(finished.stages) == pipeline.stages_of(plan.but(ifd=False, score="ifd"))
    assert [stage for stage in pipeline.stages_of(plan) if stage in STAGES] == list(STAGES)
    assert not set(STAGES) & set(pipeline.stages_of(plan.but(ifd=False)))


def test_every_scorable_sample_has_an_ifd_and_every_verified_one_too(finished):
    small, target = both_sides(finished.folder)
    assert np.isfinite(small).sum() == ROWS - 2
    assert np.isfinite(target).all() and len(target)
    assert len(np.unique(small[np.isfinite(small)])) > 10
    assert open_results(finished.folder).columns == (*MEASURED, "loss_without_prompt")


def test_the_ratios_are_made_of_the_ifd_of_both_models(finished):
    results = open_results(finished.folder)
    small, target = both_sides(finished.folder)
    selection = results.select()
    strata = selection.labels[results.verified_ids]
    used = strata >= 0
    sums = [
        np.bincount(strata[used], values[used], len(selection.sizes))
        for values in (target, small[results.verified_ids])
    ]
    known = sums[1] > 0
    raw = sums[0][known] / sums[1][known] / (sums[0].sum() / sums[1].sum())
    np.testing.assert_allclose(selection.paper_ratios[known], raw, rtol=1e-9)
    assert selection.score == "ifd"


def test_the_losses_without_prompts_are_those_of_the_models_that_scored(finished):
    folder, plan = finished.folder, open_results(finished.folder).plan
    tokens = pipeline.open_tokens(folder / "tokens.arrow")
    model = loading.load_model(plan.small, device="cpu", dtype="float32")
    model = adapters.load_adapter(model, folder / "adapter")
    tokenizer = loading.load_tokenizer(plan.small)
    scorer = LossScorer(model, first=first_token(tokenizer), pad_token_id=tokenizer.pad_token_id)
    expected = scorer.score(list(tokens))
    found = open_results(folder)._measured("speculative", "loss_without_prompt")[tokens.row_ids]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(("stage", "after"), [(STAGES[0], 10), (STAGES[0], 40), (STAGES[1], 1)])
def test_a_stopped_run_goes_on_and_ends_as_if_undisturbed(finished, tmp_path, sources, stage, after):
    folder = make_run(tmp_path / "run", sources, score="ifd")
    with pytest.raises(Stopped):
        pipeline.execute(folder, Watch(stage, after))
    if stage == STAGES[0]:
        assert open_results(folder).lacks("ifd"), "a part of the samples is not a score of the run"
    pipeline.execute(folder, Watch())
    pairs = zip(
        (*contents(finished.folder), *both_sides(finished.folder)),
        (*contents(folder), *both_sides(folder)),
        strict=True,
    )
    for whole, resumed in pairs:
        np.testing.assert_array_equal(whole, resumed)


def test_a_run_without_it_says_what_to_do_and_gets_it_later(finished, tmp_path, sources):
    folder = make_run(tmp_path / "run", sources)
    watch = Watch()
    pipeline.execute(folder, watch)
    assert not set(STAGES) & set(watch.stages)
    before = open_results(folder)
    assert before.lacks("ifd") == ("loss_without_prompt",) and before.lacks("loss") == ()
    with pytest.raises(RunError, match=r"score 'ifd' needs loss_without_prompt.*verify run --score ifd"):
        before.select(score="ifd")
    pipeline.verify_missing(folder, Watch(), {"score": "ifd"})
    after = open_results(folder)
    assert after.lacks("ifd") == () and len(to_verify_alone(after)) == 0
    np.testing.assert_array_equal(after.scores_by("ifd"), open_results(finished.folder).scores_by("ifd"))
    assert np.isfinite(after.verified_by("ifd")).all()
    assert set(before.verified_ids) <= set(after.verified_ids)
    assert len(to_verify(after, score="ifd")) == 0


def test_what_is_verified_later_is_scored_without_prompts_too(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, ifd=True)
    pipeline.execute(folder, Watch())
    known = open_results(folder).verified_by("ifd")
    watch = Watch()
    pipeline.verify_missing(folder, watch, {"strata": 12, "verify_per_stratum": 3})
    results = open_results(folder)
    assert len(results.verified_ids) > len(known)
    assert watch.done[STAGES[1]] == len(results.verified_ids) - len(known)
    assert np.isfinite(results.verified_by("ifd")).all()
    pipeline.verify_missing(folder, watch, {"strata": 12, "verify_per_stratum": 3})
    assert watch.stages.count(STAGES[1]) == 1, "nothing is scored twice"
