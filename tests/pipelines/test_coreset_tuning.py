"""Whole runs whose target is tuned before it verifies: what that changes, and what it must not."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from staff_engine.data.tokenization import tokenize_dataset
from staff_engine.errors import RunError
from staff_engine.models.finetune import steps_done
from staff_engine.pipelines import coreset as pipeline
from staff_engine.pipelines import steps
from staff_engine.runs.results import open_results
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.system.files import write_json
from tests.helpers.tiny_run import ROWS, Stopped, Watch, contents, make_run, make_sources

TUNED = {"tune_target": 10, "batch_size": 4}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return make_sources(tmp_path_factory.mktemp("sources"))


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
    assert len(open_results(untouched).tuned_ids) == open_results(untouched).summary.tuned == 0


def test_a_tuned_target_verifies_the_same_samples_and_scores_them_otherwise(tuned, untouched):
    one, other = open_results(tuned), open_results(untouched)
    assert len(one.tuned_ids) == one.summary.tuned == 10
    assert not set(one.tuned_ids) & set(one.verified_ids)
    np.testing.assert_array_equal(one.speculative, other.speculative)
    np.testing.assert_array_equal(one.verified_ids, other.verified_ids)
    assert (one.verified_scores != other.verified_scores).all()
    # Only the warning of ratios like 1/score depends on the target's scores.
    without = [[w for w in each.summary.warnings if "1/score" not in w] for each in (one, other)]
    assert without[0] == without[1]


def test_the_target_learns_from_its_own_samples_and_its_losses_are_kept(tuned):
    history = json.loads((tuned / "target_tuning.json").read_text())["steps"]
    assert history[-1]["step"] == 5  # 10 samples twice, in batches of 4
    assert json.loads((tuned / "fine_tuning.json").read_text())["steps"][-1]["step"] == 29
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
    assert watch.stages == ["libraries", "speculate", "tune target", "tune target", "verify", "select"]
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
        assert len(to_verify(after, **settings)) == 0
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
    with pytest.raises(RunError, match=r"target_adapter/adapter_config\.json is missing"):
        pipeline.verify_missing(folder, Watch(), {"strata": 12})


def test_asked_to_tune_on_more_than_there_is_a_run_takes_all_and_says_so(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, tune_target=500)
    pipeline.execute(folder, Watch())
    results = open_results(folder)
    left = ROWS - 2 - (ROWS - 2) // 10 - len(results.verified_ids)
    assert len(results.tuned_ids) == left > 0
    assert results.summary.warnings[0] == (
        f"The plan tunes the target on 500 samples other than the verified ones; only {left} exist."
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
    assert "none exist, so it is untouched" in open_results(runs[5]).summary.warnings[0]
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
    assert "only 9 exist" in results.summary.warnings[0]


def test_the_plan_of_an_older_run_has_an_untouched_target(untouched, tmp_path):
    content = json.loads((untouched / "plan.json").read_text())
    assert content["plan"].pop("tune_target") == 0
    write_json(tmp_path / "plan.json", content)
    assert open_results(tmp_path).plan == open_results(untouched).plan
