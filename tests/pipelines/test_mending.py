"""A finished run with a damaged file, resumed: what was lost is made again, and the coreset is the same."""

import json
import shutil

import numpy as np
import pytest

from staff_engine.errors import RunError
from staff_engine.pipelines import coreset as pipeline
from staff_engine.runs.integrity.check import check_files, find_damage
from staff_engine.runs.integrity.records import record_files
from staff_engine.runs.results import open_results
from staff_engine.scoring import parts
from tests.helpers.damage import WAYS, flip, halve, remove
from tests.helpers.tiny_run import Stopped, Watch, contents, make_run, make_sources


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, sources):
    """A finished run whose speculative scores are in several parts, and whose target was tuned."""
    folder = make_run(tmp_path_factory.mktemp("whole"), sources, tune_target=8, batch_size=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_SECONDS", 0)
        pipeline.execute(folder, Watch())
    record_files(folder)
    assert find_damage(folder) == []
    assert len(list((folder / "speculative").glob("part-*"))) > 3
    return folder


def again(whole, folder, file, way):
    """A copy of the run with a damaged file, resumed; and what that did."""
    shutil.copytree(whole, folder)
    WAYS[way](folder / file)
    assert find_damage(folder)
    watch = Watch()
    pipeline.execute(folder, watch)
    record_files(folder)
    assert find_damage(folder) == []
    return watch


@pytest.mark.parametrize(
    ("file", "way", "redone"),
    [
        ("speculative/part-00001.parquet", "flip", {"speculate"}),
        ("embedding/part-00002.parquet", "halve", {"speculate"}),
        ("token_loss/part-00000.parquet", "remove", {"speculate"}),
        ("verification/part-00000.parquet", "empty", {"verify"}),
        ("adapter/adapter_model.safetensors", "flip", {"fine-tune", "speculate"}),
        ("target_adapter/adapter_config.json", "replace", {"tune target", "verify"}),
        ("target_tuning.parquet", "flip", set()),
        ("tokens.arrow", "flip", {"tokenize"}),
        ("tokenizer.json", "remove", {"tokenize"}),
        ("dataset/source.jsonl", "halve", {"import"}),
        ("dataset/rows.arrow", "flip", {"import"}),
        ("dataset/facts.json", "replace", {"import"}),
        ("unscorable.parquet", "remove", set()),
        ("summary.json", "flip", set()),
    ],
)
def test_what_is_damaged_is_made_again_and_nothing_else(whole, tmp_path, file, way, redone):
    watch = again(whole, tmp_path / "run", file, way)
    fresh = {stage for stage in watch.stages if stage in ("import", "tokenize", "fine-tune", "tune target")}
    assert fresh - {"tune target"} == redone - {"speculate", "verify", "tune target"}
    for one, other in zip(contents(whole), contents(tmp_path / "run"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    np.testing.assert_array_equal(contents(whole)[-1], contents(tmp_path / "run")[-1])


def test_only_the_samples_of_a_damaged_part_are_scored_again(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    lost = len(parts.read_table(folder / "speculative" / "part-00001.parquet"))
    flip(folder / "speculative" / "part-00001.parquet")
    begun = {}

    class Counting(Watch):
        def stage(self, stage, total=0, done=0):
            begun[stage.name] = (done, total)
            super().stage(stage, total, done)

    pipeline.execute(folder, Counting())
    done, total = begun["speculate"]
    assert total - done == lost < total
    assert begun["verify"] == (0, 0)


def test_a_run_that_is_being_mended_has_no_coreset_until_all_its_scores_are_there(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    remove(folder / "speculative" / "part-00001.parquet")
    with pytest.raises(RunError, match=r"part-00001\.parquet is missing; to make it again: .*resume"):
        open_results(folder).select()
    with pytest.raises(Stopped):
        pipeline.execute(folder, Watch("speculate", 1))
    assert not (folder / "summary.json").exists()


def test_data_that_have_changed_since_are_refused(whole, tmp_path, sources):
    folder, data = tmp_path / "run", tmp_path / "data.jsonl"
    shutil.copytree(whole, folder)
    shutil.copy(sources["dataset"], data)
    plan = json.loads((folder / "plan.json").read_text())
    plan["plan"]["dataset"] = str(data)
    (folder / "plan.json").write_text(json.dumps(plan))
    halve(folder / "dataset" / "rows.arrow")
    original = data.read_text()
    data.write_text(original.replace("abc", "abd"))
    for _ in range(2):
        with pytest.raises(RunError, match=r"dataset is damaged, and .*data\.jsonl has changed since"):
            pipeline.execute(folder, Watch())
        assert not (folder / "dataset").exists()
        assert (folder / "dataset.damaged" / "source.jsonl").exists(), "what is left is kept"
        with pytest.raises(RunError, match=r"dataset/facts\.json|dataset/rows\.arrow is missing"):
            check_files(folder, "dataset")
    data.write_text(original)
    pipeline.execute(folder, Watch())
    assert not (folder / "dataset.damaged").exists()
    np.testing.assert_array_equal(contents(whole)[-1], contents(folder)[-1])


def test_a_part_that_was_emptied_before_it_was_recorded_is_scored_again(whole, tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, tune_target=8, batch_size=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_SECONDS", 0)
        with pytest.raises(Stopped):
            pipeline.execute(folder, Watch("speculate", 30))
    (folder / "files.json").unlink(missing_ok=True)
    (folder / "speculative" / "part-00001.parquet").write_bytes(b"")
    (folder / "speculative" / "batches.json").write_text("")
    pipeline.execute(folder, Watch())
    np.testing.assert_array_equal(contents(whole)[-1], contents(folder)[-1])
