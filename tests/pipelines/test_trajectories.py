"""Runs that measure the losses at checkpoints: against a training that stops there, and when stopped."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from staff_engine.data.tokens import open_tokens
from staff_engine.errors import RunError
from staff_engine.evaluation.judging import held_out_losses
from staff_engine.models.finetune import checkpoint_steps, train, training_order
from staff_engine.pipelines import coreset as pipeline
from staff_engine.pipelines.adapted import fresh_lora
from staff_engine.pipelines.trajectories import measure_trajectories
from staff_engine.plan import Plan
from staff_engine.runs.cost import column_seconds
from staff_engine.runs.integrity.check import find_damage
from staff_engine.runs.integrity.records import forget
from staff_engine.runs.results import open_results
from staff_engine.runs.score_tables import choose, small_scores
from staff_engine.scoring.trajectories import TRAJECTORY
from staff_engine.selection.baselines.s2l import select_s2l
from staff_engine.system.files import write_json
from tests.helpers.tiny_run import ROWS, Stopped, Watch, contents, make_run

STAGE = "trajectories"
SCORED = ROWS - 2
"""Rows that can be scored."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sources):
    folder = make_run(tmp_path_factory.mktemp("run"), sources, checkpoints=3)
    pipeline.execute(folder, Watch())
    return folder


def remove(folder, name):
    """Remove a file or a folder of a run as if it had never been written."""
    forget(folder, name)
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def same_weights(*adapters):
    one, other = ((adapter / "adapter_model.safetensors").read_bytes() for adapter in adapters)
    return one == other


def test_checkpoints_are_evenly_spaced_and_the_last_is_the_end():
    assert checkpoint_steps(15, 3) == [5, 10, 15]
    assert checkpoint_steps(10, 4) == [3, 5, 8, 10]
    assert checkpoint_steps(2, 5) == [1, 2]
    assert checkpoint_steps(7, 1) == [7]
    assert checkpoint_steps(7, 0) == []


def test_the_stage_is_there_if_the_plan_asks_for_it():
    plan = Plan.make(dataset="d", small="s", target="t", checkpoints=2)
    assert pipeline.stages_of(plan).index(STAGE) == pipeline.stages_of(plan).index("speculate") + 1
    assert STAGE not in pipeline.stages_of(plan.but(checkpoints=0))


def test_the_losses_are_those_of_a_training_that_stops_at_the_checkpoint(finished):
    results = open_results(finished)
    plan, tokens = results.plan, open_tokens(finished / "tokens.arrow")
    order = training_order(tokens.lengths, epochs=plan.epochs, batch_size=plan.batch_size, seed=plan.seed)
    for column, step in enumerate((5, 10, 15)):
        model = fresh_lora(plan.but(dtype="float32"), plan.small)
        train(
            model, tokens, order, pad_token_id=0, batch_size=plan.batch_size,
            learning_rate=plan.learning_rate, seed=plan.seed, on_step=lambda done, last=step: done < last,
        )  # fmt: skip
        expected = held_out_losses(model, tokens, pad_token_id=0, tokens_per_batch=256)
        np.testing.assert_allclose(results.trajectories[tokens.row_ids, column], expected, rtol=1e-3)


def test_every_scorable_sample_has_a_trajectory_that_ends_with_its_loss(finished):
    results = open_results(finished)
    assert results.trajectories.shape == (ROWS, 3)
    np.testing.assert_array_equal(
        np.isfinite(results.trajectories).all(axis=1), np.isfinite(results.speculative)
    )
    table = small_scores(results)
    np.testing.assert_array_equal(table.trajectories[:, -1], table.loss)
    assert np.nanmean(np.abs(np.diff(table.trajectories))) > 0.01


def test_each_checkpoint_but_the_last_has_a_folder_with_its_adapter_and_losses(finished):
    names = sorted(path.name for path in (finished / TRAJECTORY).iterdir())
    assert names == ["step-0000005", "step-0000010"]
    for name in names:
        assert (finished / TRAJECTORY / name / "adapter" / "adapter_model.safetensors").exists()


def test_losses_that_are_gone_are_measured_again_also_without_the_adapter(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    step = Path(TRAJECTORY) / "step-0000005"
    plan, expected = open_results(finished).plan.but(dtype="float32"), open_results(finished).trajectories
    for gone in ([step / "part-00000.parquet"], [step / "part-00000.parquet", step / "adapter"]):
        for name in gone:
            remove(folder, str(name))
        assert open_results(folder).trajectories.shape == (ROWS, 0)
        watch = Watch()
        measure_trajectories(plan, folder, watch)
        assert watch.stages == [*(["train again"] if len(gone) > 1 else []), STAGE]
        np.testing.assert_allclose(open_results(folder).trajectories, expected, rtol=1e-3)
    for kept in (finished, folder):
        assert (kept / step / "adapter" / "adapter_model.safetensors").exists()
    assert same_weights(finished / step / "adapter", folder / step / "adapter")


def test_checkpoints_change_nothing_else_of_the_run(finished, tmp_path, sources):
    folder = make_run(tmp_path / "run", sources)
    pipeline.execute(folder, Watch())
    for with_them, without in zip(contents(finished), contents(folder), strict=True):
        np.testing.assert_array_equal(with_them, without)


@pytest.mark.parametrize(("stage", "after"), [("fine-tune", 7), (STAGE, 10), (STAGE, 70)])
def test_a_stopped_run_goes_on_and_ends_as_if_undisturbed(finished, tmp_path, sources, stage, after):
    folder = make_run(tmp_path / "run", sources, checkpoints=3)
    with pytest.raises(Stopped):
        pipeline.execute(folder, Watch(stage, after))
    pipeline.execute(folder, Watch())
    expected, found = open_results(finished).trajectories, open_results(folder).trajectories
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_s2l_reads_them_and_is_charged_with_its_forward_passes(finished):
    results = open_results(finished)
    chosen = choose("s2l", results, small_scores(results), pruning_rate=0.8, seed=1)
    expected = select_s2l(results.speculative, results.trajectories, pruning_rate=0.8, seed=1)
    np.testing.assert_array_equal(chosen, expected)
    write_json(finished / "timings.json", {"fine-tune": 4.0, "speculate": 3.0, STAGE: 2.0})
    assert column_seconds(open_results(finished), "trajectories") == 4.0 + 2.0 * 3 / 2


@pytest.fixture(scope="module")
def without_them(tmp_path_factory, sources):
    folder = make_run(tmp_path_factory.mktemp("without"), sources)
    pipeline.execute(folder, Watch())
    return folder


def ask(folder, checkpoints):
    """What `trajectory RUN` notes in the plan."""
    plan = open_results(folder).plan.but(checkpoints=checkpoints)
    write_json(folder / "plan.json", {"plan": plan.model_dump(mode="json")})


def test_a_run_without_them_says_how_to_get_them(without_them):
    results = open_results(without_them)
    assert results.trajectories.shape == (ROWS, 0)
    with pytest.raises(RunError, match=r"S2L reads losses at checkpoints, and run .* has none") as caught:
        choose("s2l", results, small_scores(results), pruning_rate=0.8, seed=1)
    assert f"trajectory {without_them.name} --checkpoints 10" in str(caught.value)


@pytest.mark.parametrize(("stage", "after"), [(None, 0), ("train again", 7), (STAGE, 70)])
def test_a_finished_run_gets_those_that_it_would_have_had(finished, without_them, tmp_path, stage, after):
    folder = shutil.copytree(without_them, tmp_path / "run")
    before = contents(folder)
    ask(folder, 3)
    if stage:
        with pytest.raises(Stopped):
            pipeline.execute(folder, Watch(stage, after))
        assert open_results(folder).trajectories.shape == (ROWS, 0)
    watch = Watch()
    pipeline.execute(folder, watch)
    done = {"libraries", "speculate", "verify", "select", "train again", STAGE}
    assert set(watch.stages) == done - ({"train again"} if stage == STAGE else set())
    expected, found = open_results(finished).trajectories, open_results(folder).trajectories
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for step in ("step-0000005", "step-0000010"):
        assert same_weights(*(each / TRAJECTORY / step / "adapter" for each in (finished, folder)))
    for old, new in zip(before, contents(folder), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not list(folder.glob("*_checkpoints"))
    assert not find_damage(folder)


def test_with_another_number_of_checkpoints_only_the_new_ones_are_measured(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    ask(folder, 5)  # 3, 6, 9, 12, 15
    assert open_results(folder).trajectories.shape == (ROWS, 0)
    watch = Watch(STAGE, 4 * SCORED)
    with pytest.raises(Stopped):
        pipeline.execute(folder, watch)
    assert open_results(folder).trajectories.shape == (ROWS, 5)
    ask(folder, 3)
    np.testing.assert_array_equal(open_results(folder).trajectories, open_results(finished).trajectories)


def test_a_second_fine_tuning_that_ends_elsewhere_is_refused(without_them, tmp_path):
    folder = shutil.copytree(without_them, tmp_path / "run")
    forget(folder, "adapter")
    path = folder / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name: weight + 1e-3 for name, weight in weights.items()}, path, metadata={"format": "pt"})
    ask(folder, 3)
    with pytest.raises(RunError, match=r"gave another adapter than the run has.*--checkpoints 3"):
        pipeline.execute(folder, Watch())
    assert not (folder / TRAJECTORY).exists() and not list(folder.glob("*_checkpoints"))
    assert open_results(folder).trajectories.shape == (ROWS, 0)
    assert len(open_results(folder).select().indices) > 0
