"""Whole similarity runs on tiny models: what they compare, and that no interruption changes it."""

import json
import shutil

import numpy as np
import pytest

from staff_engine.errors import DatasetError, ModelError, RunError
from staff_engine.pipelines.similarity import run as similarity_run
from staff_engine.pipelines.similarity.measures import compare_scores
from staff_engine.pipelines.similarity.report import REPORT_FILE, open_similarity
from staff_engine.plan import Plan
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.files import write_json
from tests.helpers.made_similarity import older
from tests.helpers.tiny import save_model
from tests.helpers.tiny_run import Stopped, Watch

ROWS = 40
RESAMPLES = 5


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two small models, a target, and a data set with a row that cannot be scored."""
    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    rows = [
        {"prompt": "abc " * int(rng.integers(1, 6)), "completion": chr(97 + i % 26) * int(rng.integers(1, 9))}
        for i in range(ROWS)
    ]
    rows[7]["completion"] = ""
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    near = save_model(folder / "near", seed=0)
    far = save_model(folder / "far", seed=2)
    target = save_model(folder / "target", seed=1, num_hidden_layers=4)
    return {"dataset": str(folder / "data.jsonl"), "smalls": (near, far), "targets": (target,)}


def make_run(folder, sources, *, sample=20, **changes):
    settings = {
        "dataset": sources["dataset"], "small": sources["smalls"][0], "target": sources["targets"][0],
        "epochs": 2, "device": "cpu", "tokens_per_batch": 128, "learning_rate": 1e-2, "tune_target": 12,
    }  # fmt: skip
    compared = SimilarityPlan.make(
        smalls=sources["smalls"], targets=sources["targets"], sample=sample, strata=4
    )
    folder.mkdir(exist_ok=True)
    record = {
        "name": "alike", "created": "2026-01-01T00:00:00Z", "versions": {},
        "plan": Plan.make(**{**settings, **changes}).model_dump(mode="json"),
        "similarity": compared.model_dump(mode="json"),
    }  # fmt: skip
    write_json(folder / "plan.json", record)
    return folder


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity_run, "RESAMPLES", RESAMPLES)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sources):
    folder = make_run(tmp_path_factory.mktemp("run"), sources)
    similarity_run.execute(folder, Watch())
    return open_similarity(folder)


def test_every_model_is_read_untouched_and_fine_tuned(finished):
    readings = [(r.model.rpartition("/")[2], r.role, r.tuned_on) for r in finished.report.readings]
    assert readings == [
        ("near", "small", 0), ("near", "small", ROWS - 1),
        ("far", "small", 0), ("far", "small", ROWS - 1),
        ("target", "target", 0), ("target", "target", 12),
    ]  # fmt: skip


def test_all_score_the_same_samples_and_none_that_cannot_be_scored(finished):
    rows = finished.scores.groupby("reading")["row_id"].apply(list)
    assert all(each == rows[0] for each in rows)
    assert len(rows[0]) == finished.report.samples == 20
    assert 7 not in rows[0]


def test_fine_tuning_and_the_choice_of_parameters_change_the_scores(finished):
    effort = finished.scores.set_index(["reading", "row_id"])
    for untouched, tuned in ((0, 1), (2, 3), (4, 5)):
        assert (effort.loc[untouched, "loss"] != effort.loc[tuned, "loss"]).all()
    assert (effort["effort, all"] > effort["effort, last_block"]).all()


def test_the_target_is_tuned_on_samples_apart_from_those_that_are_scored(finished):
    from staff_engine.data.tokens import open_tokens

    tuned = open_tokens(finished.folder / "models" / "target-0" / "tokens-tune.arrow").row_ids
    assert len(tuned) == 12
    assert not set(tuned.tolist()) & set(finished.scores["row_id"].tolist())


def test_a_target_may_be_tuned_on_everything(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, sample=10, tune_target=ROWS)
    similarity_run.execute(folder, Watch())
    assert open_similarity(folder).report.readings[-1].tuned_on == ROWS - 1


def test_a_target_that_is_not_tuned_is_read_once(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources, sample=10, tune_target=0)
    watch = Watch()
    similarity_run.execute(folder, watch)
    assert [r.tuned_on for r in open_similarity(folder).report.readings if r.role == "target"] == [0]
    assert "fine-tune target" not in watch.stages


def test_each_small_model_stands_beside_each_target_in_every_state_that_makes_sense(finished):
    pairs = {(pair.small.tuned_on > 0, pair.target.tuned_on > 0) for pair in finished.report.pairs}
    assert pairs == {(False, False), (True, False), (True, True)}
    assert len(finished.report.pairs) == 2 * 3 * 3


def test_the_figures_are_those_of_the_scores(finished):
    wide, tokens = (
        finished.scores.pivot(index="row_id", columns="reading", values=column)
        for column in ("effort, all", "response_tokens")
    )
    pair = next(
        pair
        for pair in finished.report.pairs
        if pair.small == finished.report.readings[3]
        and pair.target == finished.report.readings[5]
        and pair.score == "effort, all"
    )
    assert pair.likeness == compare_scores(
        wide[5].to_numpy(), wide[3].to_numpy(), num_strata=4, resamples=RESAMPLES,
        lengths=tokens[[3, 5]].mean(axis=1).to_numpy(),
    )  # fmt: skip
    assert pair.likeness.held is not None
    [cell] = [
        each
        for each in finished.report.ranks
        if (each.first, each.second, each.score) == (pair.small, pair.target, pair.score)
    ]
    assert cell.held.value == pytest.approx(pair.likeness.held.value)


def test_a_verdict_is_given_for_every_fine_tuned_small_model_by_either_effort(finished):
    verdicts = finished.report.verdicts
    assert len(verdicts) == 2 * 2 * 2
    assert all(verdict.small.tuned_on for verdict in verdicts)
    assert {verdict.trust.word for verdict in verdicts} <= {"high", "fair", "low"}


def test_a_run_that_is_stopped_anywhere_goes_on_and_finds_the_same(finished, tmp_path, sources):
    folder = make_run(tmp_path / "run", sources)
    stages = (
        ("tokenize", 0), ("score near, untouched", 5), ("fine-tune near", 4), ("score near, tuned", 25),
        ("fine-tune target", 2), ("compare", 3),
    )  # fmt: skip
    for stage, after in stages:
        with pytest.raises(Stopped):
            similarity_run.execute(folder, Watch(stop_in=stage, after=after))
    similarity_run.execute(folder, Watch())
    assert (folder / REPORT_FILE).read_bytes() == (finished.folder / REPORT_FILE).read_bytes()


def test_a_finished_run_does_nothing_again_but_the_report(finished):
    watch = Watch()
    similarity_run.execute(finished.folder, watch)
    assert watch.stages == ["libraries", "compare"]


def test_a_run_of_an_older_version_measures_what_it_lacks_from_its_scores(finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    write_json(folder / REPORT_FILE, older(finished.report).as_json())
    assert not open_similarity(folder).report.length_held
    watch = Watch()
    similarity_run.execute(folder, watch)
    assert watch.stages == ["libraries", "compare"]
    assert (folder / REPORT_FILE).read_bytes() == (finished.folder / REPORT_FILE).read_bytes()


def test_the_stages_are_known_before_they_are_gone_through(tmp_path, sources):
    for name, tune in (("tuned", 6), ("untouched", 0)):
        folder = make_run(tmp_path / name, sources, sample=10, tune_target=tune)
        watch = Watch()
        similarity_run.execute(folder, watch)
        expected = similarity_run.stages_of(open_similarity(folder))
        assert tuple(dict.fromkeys(watch.stages)) == expected


def test_too_few_samples_are_refused(tmp_path, sources):
    path = tmp_path / "few.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n' * 9)
    folder = make_run(tmp_path / "run", {**sources, "dataset": str(path)})
    with pytest.raises(DatasetError, match="9 scorable samples; at least 10"):
        similarity_run.execute(folder, Watch())


def test_a_model_that_is_not_there_is_named_before_any_work(tmp_path, sources):
    folder = make_run(tmp_path / "run", {**sources, "smalls": (sources["smalls"][0], "builtin:none")})
    watch = Watch()
    with pytest.raises(ModelError, match="builtin:none"):
        similarity_run.execute(folder, watch)
    assert not watch.stages


def test_a_run_that_selects_is_no_similarity_run(tmp_path, sources):
    folder = make_run(tmp_path / "run", sources)
    record = json.loads((folder / "plan.json").read_text())
    write_json(folder / "plan.json", {**record, "similarity": None})
    with pytest.raises(RunError, match="does not compare models"):
        open_similarity(folder)
