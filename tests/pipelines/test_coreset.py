"""Whole runs on tiny models: what they leave, and that no interruption changes it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from staff_engine.errors import DatasetError, ModelError
from staff_engine.models import devices, loading
from staff_engine.pipelines import coreset as pipeline
from staff_engine.pipelines import scoring, summarize
from staff_engine.runs.results import open_results
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.scoring import precision
from staff_engine.selection.agreement import rank_agreement
from staff_engine.selection.trust import judge_trust
from tests.helpers.tiny_run import ROWS, Stopped, Watch, contents, make_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sources):
    folder = make_run(tmp_path_factory.mktemp("run"), sources)
    pipeline.execute(folder, Watch())
    return folder


def test_a_run_keeps_the_number_format_that_it_began_in(tmp_path, sources, monkeypatch):
    folder = make_run(tmp_path / "run", sources, epochs=1)
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "FASTER", 0)
    monkeypatch.setattr(precision, "ALIKE", 0)
    with pytest.raises(Stopped):
        pipeline.execute(folder, Watch("speculate", 30))
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: False)
    loaded = []
    load_model = loading.load_model
    monkeypatch.setattr(
        loading, "load_model", lambda name, **how: loaded.append(how["dtype"]) or load_model(name, **how)
    )
    pipeline.execute(folder, Watch())
    pipeline.verify_missing(folder, Watch(), {"strata": 12, "verify_per_stratum": 3})
    assert loaded == ["bfloat16"] * 3
    summary = open_results(folder).summary
    assert summary.dtype == "bfloat16"
    assert summary.dtype_chosen.startswith("The models use bfloat16: on 58 samples")


def test_every_scorable_row_has_a_score_and_every_other_a_reason(finished):
    results = open_results(finished)
    assert results.num_rows == ROWS
    assert np.flatnonzero(np.isnan(results.speculative)).tolist() == [7, 20] == sorted(results.unscorable)
    assert "line 21" in results.unscorable[20]
    assert (results.scores[["effort", "loss", "el2n", "entropy"]] > 0).all(axis=None)


def test_the_coreset_has_exactly_m_rows(finished):
    assert len(open_results(finished).select().indices) == round(0.2 * (ROWS - 2)) == 12


def test_the_target_scores_the_drawn_samples_and_no_more(finished, tmp_path, sources, monkeypatch):
    scored = []
    score = scoring.Scorer.score

    def counting(self, samples):
        scored.extend([self.model.config.num_hidden_layers] * len(samples))
        return score(self, samples)

    class AfterTheCheck(Watch):
        def stage(self, stage, total=0, done=0):
            super().stage(stage, total, done)
            if stage.name == "fine-tune":
                scored.clear()

    monkeypatch.setattr(scoring.Scorer, "score", counting)
    folder = make_run(tmp_path / "run", sources, dtype="float32")
    pipeline.execute(folder, AfterTheCheck())
    results = open_results(folder)
    sizes = results.select().sizes
    assert (scored.count(3), scored.count(4)) == (ROWS - 2, np.minimum(sizes, 2).sum())
    assert len(results.verified_ids) == np.minimum(sizes, 2).sum()


def test_the_summary_counts_what_is_there(finished):
    results = open_results(finished)
    summary = results.summary
    assert (summary.samples, summary.unscorable, summary.coreset_size) == (ROWS - 2, 2, 12)
    assert (summary.verified, summary.to_verify) == (len(results.verified_ids), 0)
    assert summary.full_target_seconds_estimate > summary.verify_seconds_per_sample > 0


def test_the_agreement_is_that_of_the_score_that_the_run_selects_by(finished):
    results = open_results(finished)
    by_loss = replace(results, plan=results.plan.but(score="loss"))
    verified = results.verified_ids
    expected = rank_agreement(
        results.scores_by("loss")[verified],
        results.verified_by("loss"),
        lengths=results.response_tokens[verified],
    )
    assert summarize.summarize(by_loss).trust.spearman == pytest.approx(expected.spearman)
    assert results.summary.trust.spearman != pytest.approx(expected.spearman)


def test_the_summary_judges_trust_by_the_verified_samples_alone(finished):
    results = open_results(finished)
    trust = results.summary.trust
    verified, plan = results.verified_ids, results.plan
    agreement = rank_agreement(
        results.speculative[verified], results.verified_scores, lengths=results.response_tokens[verified]
    )
    judged = judge_trust(agreement, epochs=plan.epochs, scored_parameters=plan.scored_parameters)
    assert trust.samples == len(results.verified_ids) < ROWS - 2
    assert [trust.spearman, trust.low, trust.high] == pytest.approx(
        [agreement.spearman, agreement.low, agreement.high]
    )
    assert (trust.word, trust.sentence) == (judged.word, judged.sentence)
    assert trust.advice == judged.advice


def test_the_loss_of_fine_tuning_is_kept(finished):
    history = json.loads((finished / "fine_tuning.json").read_text())["steps"]
    assert history[-1]["step"] == 15
    assert all(entry["loss"] > 0 for entry in history)


@pytest.mark.parametrize(
    ("stage", "after"),
    [("import", 1), ("tokenize", 1), ("fine-tune", 3), ("speculate", 10), ("speculate", 40), ("verify", 5)],
)
def test_a_stopped_run_goes_on_and_ends_as_if_undisturbed(finished, tmp_path, sources, stage, after):
    folder = make_run(tmp_path / "run", sources)
    with pytest.raises(Stopped):
        pipeline.execute(folder, Watch(stage, after))
    assert not (folder / "summary.json").exists()
    watch = Watch()
    pipeline.execute(folder, watch)
    assert stage in watch.stages
    for whole, resumed in zip(contents(finished), contents(folder), strict=True):
        np.testing.assert_array_equal(whole, resumed)


def test_what_was_scored_before_a_stop_is_not_scored_again(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources)
    with pytest.raises(Stopped):
        pipeline.execute(folder, Watch("speculate", 30))
    watch = Watch()
    pipeline.execute(folder, watch)
    assert watch.done["speculate"] == ROWS - 2
    table = pipeline.read_parts(folder / "speculative")
    assert len(set(table["row_id"].to_pylist())) == table.num_rows == ROWS - 2
    assert len(list((folder / "speculative").iterdir())) == 2


def test_a_finished_run_needs_no_model_again(finished, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(loading, "load_model", refuse)
    before = contents(finished)
    pipeline.execute(finished, Watch())
    for one, other in zip(before, contents(finished), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_strata_are_verified_by_scoring_only_what_is_missing(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources)
    pipeline.execute(folder, Watch())
    before = open_results(folder)
    missing = to_verify(before, strata=12, verify_per_stratum=3)
    assert len(missing)
    assert not set(missing) & set(before.verified_ids)
    pipeline.verify_missing(folder, Watch(), {"strata": 12, "verify_per_stratum": 3})
    after = open_results(folder)
    assert sorted([*before.verified_ids, *missing]) == after.verified_ids.tolist()
    assert len(to_verify(after, strata=12, verify_per_stratum=3)) == 0
    kept = np.isin(after.verified_ids, before.verified_ids)
    np.testing.assert_array_equal(after.verified_scores[kept], before.verified_scores)


@pytest.mark.parametrize("changes", [{"scored_parameters": "last_block"}, {"seed": 1}])
def test_a_setting_of_the_scores_changes_them(finished, tmp_path, sources, changes):
    folder = make_run(tmp_path / "run", sources, **changes)
    pipeline.execute(folder, Watch())
    assert not np.array_equal(
        open_results(folder).speculative, open_results(finished).speculative, equal_nan=True
    )


def test_a_model_that_is_not_there_is_found_out_before_any_work(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, target=str(tmp_path / "none" / "x" / "y"))
    with pytest.raises(ModelError, match="does not exist"):
        pipeline.execute(folder, Watch())
    assert not (folder / "dataset").exists()


def test_too_few_scorable_samples_are_an_error(tmp_path, sources):
    data = tmp_path / "two.jsonl"
    data.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a", "completion": ""}\n')
    folder = make_run(tmp_path / "run", {**sources, "dataset": str(data)})
    watch = Watch()
    with pytest.raises(DatasetError, match=r"two\.jsonl has 1 usable row; a run needs at least 2"):
        pipeline.execute(folder, watch)
    assert watch.stages == ["libraries", "import"]  # no model is loaded


def test_responses_that_were_truncated_are_in_the_summary(finished, monkeypatch):
    results = open_results(finished)
    assert not any("truncated" in warning for warning in summarize.summarize(results).warnings)
    monkeypatch.setattr(summarize, "open_tokens", lambda path: SimpleNamespace(cut=3, templates={}))
    most = f"{results.plan.max_length:,}"
    said = f"3 responses longer than {most} tokens: truncated; --max-length sets the maximum"
    assert said in summarize.summarize(results).warnings
