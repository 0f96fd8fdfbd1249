"""Whole runs on tiny models: what they leave, and that no interruption changes it."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from tiny import save_model

from staff_engine import models, pipeline, precision, steps
from staff_engine.agreement import rank_agreement
from staff_engine.errors import DatasetError, ModelError
from staff_engine.files import write_json
from staff_engine.finetune import steps_done
from staff_engine.plan import Plan
from staff_engine.results import open_results
from staff_engine.tokenization import tokenize_dataset
from staff_engine.trust import judge_trust

ROWS = 60


class Stopped(BaseException):
    pass


class Watch:
    """A reporter that keeps what it is told, and can stop a run after so many units of a stage."""

    def __init__(self, stop_in=None, after=0):
        self.stages, self.done = [], {}
        self.stop_in, self.after = stop_in, after

    def stage(self, name, total=0, unit="samples", done=0):
        self.stages.append(name)
        self.done[name] = done

    @property
    def cancelled(self):
        return bool(self.stages) and self.stages[-1] == self.stop_in and self.done[self.stop_in] >= self.after

    def advance(self, count=1):
        self.done[self.stages[-1]] += count
        if self.cancelled:
            raise Stopped

    def message(self, text):
        pass


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A small model, a target and a data set with two rows that cannot be scored."""
    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    rows = [
        {
            "prompt": "abc " * int(rng.integers(1, 6)),
            "completion": chr(97 + i % 26) * int(rng.integers(1, 12)),
        }
        for i in range(ROWS)
    ]
    rows[7]["completion"] = ""
    lines = [json.dumps(row) for row in rows]
    lines[20] = '{"prompt": "broken'
    (folder / "data.jsonl").write_text("\n".join(lines))
    small = save_model(folder / "small", seed=0)
    target = save_model(folder / "target", seed=1, num_hidden_layers=4)
    return {"dataset": str(folder / "data.jsonl"), "small": small, "target": target}


def make_run(folder, sources, **changes):
    settings = {
        **sources, "epochs": 2, "strata": 6, "verify_per_stratum": 2, "pruning_rate": 0.8, "device": "cpu",
        "tokens_per_batch": 256, "learning_rate": 1e-2,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    plan = Plan.make(**{**settings, **changes})
    write_json(folder / "plan.json", {"plan": plan.model_dump(mode="json")})
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sources):
    folder = make_run(tmp_path_factory.mktemp("run"), sources)
    pipeline.execute(folder, Watch())
    return folder


def test_a_run_keeps_the_number_format_that_it_began_in(tmp_path, sources, monkeypatch):
    folder = make_run(tmp_path / "run", sources, epochs=1)
    monkeypatch.setattr(models, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "FASTER", 0)
    monkeypatch.setattr(precision, "ALIKE", 0)
    with pytest.raises(Stopped):
        pipeline.execute(folder, Watch("speculate", 30))
    monkeypatch.setattr(models, "has_bfloat16", lambda device: False)
    loaded = []
    load_model = models.load_model
    monkeypatch.setattr(
        models, "load_model", lambda name, **how: loaded.append(how["dtype"]) or load_model(name, **how)
    )
    pipeline.execute(folder, Watch())
    pipeline.verify_missing(folder, Watch(), {"strata": 12, "verify_per_stratum": 3})
    assert loaded == ["bfloat16"] * 3
    summary = open_results(folder).summary
    assert summary["dtype"] == "bfloat16"
    assert summary["dtype_chosen"].startswith("The models work in bfloat16: on 58 samples")


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
    score = steps.Scorer.score

    def counting(self, samples):
        scored.extend([self.model.config.num_hidden_layers] * len(samples))
        return score(self, samples)

    monkeypatch.setattr(steps.Scorer, "score", counting)
    folder = make_run(tmp_path / "run", sources, dtype="float32")
    pipeline.execute(folder, Watch())
    results = open_results(folder)
    sizes = results.select().sizes
    assert (scored.count(3), scored.count(4)) == (ROWS - 2, np.minimum(sizes, 2).sum())
    assert len(results.verified_ids) == np.minimum(sizes, 2).sum()


def test_the_summary_counts_what_is_there(finished):
    results = open_results(finished)
    summary = results.summary
    assert (summary["samples"], summary["unscorable"], summary["coreset_size"]) == (ROWS - 2, 2, 12)
    assert (summary["verified"], summary["to_verify"]) == (len(results.verified_ids), 0)
    assert summary["full_target_seconds_estimate"] > summary["verify_seconds_per_sample"] > 0


def test_the_summary_judges_trust_by_the_verified_samples_alone(finished):
    results = open_results(finished)
    trust = results.summary["trust"]
    agreement = rank_agreement(results.speculative[results.verified_ids], results.verified_scores)
    plan = results.plan
    judged = judge_trust(agreement, epochs=plan.epochs, scored_parameters=plan.scored_parameters)
    assert trust["samples"] == len(results.verified_ids) < ROWS - 2
    assert [trust[name] for name in ("spearman", "low", "high")] == pytest.approx(
        [agreement.spearman, agreement.low, agreement.high]
    )
    assert (trust["word"], trust["sentence"]) == (judged.word, judged.sentence)
    assert tuple(trust["advice"]) == judged.advice


def test_the_loss_of_fine_tuning_is_kept(finished):
    history = json.loads((finished / "fine_tuning.json").read_text())
    assert history[-1]["step"] == 15
    assert all(entry["loss"] > 0 for entry in history)


def contents(folder):
    results = open_results(folder)
    return results.speculative, results.verified_ids, results.verified_scores, results.select().indices


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

    monkeypatch.setattr(models, "load_model", refuse)
    before = contents(finished)
    pipeline.execute(finished, Watch())
    for one, other in zip(before, contents(finished), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_strata_are_verified_by_scoring_only_what_is_missing(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources)
    pipeline.execute(folder, Watch())
    before = open_results(folder)
    missing = before.to_verify(strata=12, verify_per_stratum=3)
    assert len(missing)
    assert not set(missing) & set(before.verified_ids)
    pipeline.verify_missing(folder, Watch(), {"strata": 12, "verify_per_stratum": 3})
    after = open_results(folder)
    assert sorted([*before.verified_ids, *missing]) == after.verified_ids.tolist()
    assert len(after.to_verify(strata=12, verify_per_stratum=3)) == 0
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
    with pytest.raises(DatasetError, match="has 1 scorable samples; at least 2"):
        pipeline.execute(folder, Watch())


# --- a target that is tuned before it verifies


TUNED = {"tune_target": 10, "batch_size": 4}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, sources):
    folder = make_run(tmp_path_factory.mktemp("tuned"), sources, **TUNED)
    watch = Watch()
    pipeline.execute(folder, watch)
    assert [watch.stages[place] for place in (-4, -3, -2, -1)] == [
        "tune target", "tune target", "verify", "select",
    ]  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, sources):
    folder = make_run(tmp_path_factory.mktemp("untouched"), sources, batch_size=4)
    pipeline.execute(folder, Watch())
    return folder


def test_an_untouched_target_leaves_no_sign_of_tuning(untouched):
    assert not [path.name for path in untouched.iterdir() if "target" in path.name or "tune" in path.name]
    assert len(open_results(untouched).tuned_ids) == open_results(untouched).summary["tuned"] == 0


def test_a_tuned_target_verifies_the_same_samples_and_scores_them_otherwise(tuned, untouched):
    one, other = open_results(tuned), open_results(untouched)
    assert len(one.tuned_ids) == one.summary["tuned"] == 10
    assert not set(one.tuned_ids) & set(one.verified_ids)
    np.testing.assert_array_equal(one.speculative, other.speculative)
    np.testing.assert_array_equal(one.verified_ids, other.verified_ids)
    assert (one.verified_scores != other.verified_scores).all()
    assert one.summary["warnings"] == other.summary["warnings"]


def test_the_target_learns_from_its_own_samples_and_its_losses_are_kept(tuned):
    history = json.loads((tuned / "target_tuning.json").read_text())
    assert history[-1]["step"] == 5  # 10 samples twice, in batches of 4
    assert json.loads((tuned / "fine_tuning.json").read_text())[-1]["step"] == 29
    assert {path.name for path in tuned.iterdir()} >= {"adapter", "target_adapter", "target_tuning.parquet"}
    assert not list(tuned.glob("*checkpoints")) and not list(tuned.glob("*.part"))


@pytest.mark.parametrize(
    ("stage", "after"), [("fine-tune", 3), ("tune target", 0), ("tune target", 3), ("verify", 5)]
)
def test_a_stopped_run_with_a_tuned_target_ends_as_if_undisturbed(tuned, tmp_path, sources, stage, after):
    folder = make_run(tmp_path / "run", sources, **TUNED)
    with pytest.raises(Stopped):
        pipeline.execute(folder, Watch(stage, after))
    pipeline.execute(folder, Watch())
    for whole, resumed in zip(contents(tuned), contents(folder), strict=True):
        np.testing.assert_array_equal(whole, resumed)
    for name in ("target_tuning.parquet", "target_adapter/adapter_model.safetensors"):
        assert (folder / name).read_bytes() == (tuned / name).read_bytes()


def test_cancelling_keeps_the_steps_of_the_tuning_that_are_done(tuned, tmp_path, sources):
    class Cancelling(Watch):
        """Is asked to stop, as a run is, without being told so by `advance`."""

        def advance(self, count=1):
            if count == 0:
                raise Stopped
            self.done[self.stages[-1]] += count

    folder = make_run(tmp_path / "run", sources, **TUNED)
    with pytest.raises(Stopped):
        pipeline.execute(folder, Cancelling("tune target", 2))
    assert steps_done(folder / "target_adapter.part") == 3
    watch = Watch()
    pipeline.execute(folder, watch)
    assert watch.stages == ["speculate", "tune target", "tune target", "verify", "select"]
    for whole, resumed in zip(contents(tuned), contents(folder), strict=True):
        np.testing.assert_array_equal(whole, resumed)


def test_what_was_tuned_on_is_never_verified_and_later_verifying_trains_no_more(
    tmp_path, sources, monkeypatch
):
    folder = make_run(tmp_path / "run", sources, **TUNED)
    pipeline.execute(folder, Watch())
    before = open_results(folder)

    def refuse(*args, **kwargs):
        raise AssertionError("a model was trained")

    monkeypatch.setattr(steps, "finetune", refuse)
    for settings in ({"strata": 12}, {"strata": 3, "seed": 5}, {"strata": 2, "verify_per_stratum": 99}):
        pipeline.verify_missing(folder, Watch(), settings)
        after = open_results(folder)
        assert len(after.to_verify(**settings)) == 0
        np.testing.assert_array_equal(after.tuned_ids, before.tuned_ids)
        assert not set(after.tuned_ids) & set(after.verified_ids)
    kept = np.isin(after.verified_ids, before.verified_ids)
    np.testing.assert_array_equal(after.verified_scores[kept], before.verified_scores)
    everything = np.flatnonzero(after.select(strata=2).labels >= 0)
    assert sorted([*after.verified_ids, *after.tuned_ids]) == everything.tolist()


def test_more_is_not_verified_without_what_the_target_has_learnt(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, **TUNED)
    pipeline.execute(folder, Watch())
    shutil.rmtree(folder / "target_adapter")
    with pytest.raises(ModelError, match="target_adapter' cannot be loaded"):
        pipeline.verify_missing(folder, Watch(), {"strata": 12})


def test_asked_to_tune_on_more_than_there_is_a_run_takes_all_and_says_so(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, tune_target=500)
    pipeline.execute(folder, Watch())
    results = open_results(folder)
    left = ROWS - 2 - (ROWS - 2) // 10 - len(results.verified_ids)
    assert len(results.tuned_ids) == left > 0
    assert results.summary["warnings"][0] == (
        f"The target was to be tuned on 500 samples apart from the verified ones; there are {left}."
    )


def test_with_all_samples_verified_none_is_left_to_tune_on_and_the_target_stays_untouched(tmp_path, sources):
    settings = {"strata": 2, "verify_per_stratum": 99}
    runs = {
        count: make_run(tmp_path / str(count), sources, tune_target=count, **settings) for count in (0, 5)
    }
    for folder in runs.values():
        pipeline.execute(folder, Watch())
    for one, other in zip(*map(contents, runs.values()), strict=True):
        np.testing.assert_array_equal(one, other)
    assert "there is none, so it is untouched" in open_results(runs[5]).summary["warnings"][0]
    assert not (runs[5] / "target_adapter").exists()
    pipeline.execute(runs[5], Watch())


def test_a_row_that_the_target_cannot_read_is_not_counted_as_tuned_on(tmp_path, sources, monkeypatch):
    folder = make_run(tmp_path / "run", sources, **TUNED)
    unreadable = []

    def losing_one(rows, tokenizer, path, **settings):
        tokenize_dataset(rows, tokenizer, path, **settings)
        if path.name == "tokens-tune.arrow":
            unreadable.append(rows["row_id"][0])
            with pa.ipc.open_stream(path.read_bytes()) as stream:
                table = stream.read_all()
            problems = pa.array(["no response", *[None] * (len(table) - 1)], pa.string())
            table = table.set_column(table.schema.get_field_index("problem"), "problem", problems)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)

    monkeypatch.setattr(steps, "tokenize_dataset", losing_one)
    pipeline.execute(folder, Watch())
    results = open_results(folder)
    assert len(results.tuned_ids) == 9 and unreadable[0] not in results.tuned_ids
    assert "there are 9" in results.summary["warnings"][0]


def test_the_plan_of_an_older_run_has_an_untouched_target(untouched, tmp_path):
    content = json.loads((untouched / "plan.json").read_text())
    assert content["plan"].pop("tune_target") == 0
    write_json(tmp_path / "plan.json", content)
    assert open_results(tmp_path).plan == open_results(untouched).plan
