"""Whole evaluation runs on tiny models: their cells, and that interruptions do not change them."""

import json
from pathlib import Path

import numpy as np
import pytest

from staff_engine.data.tokens import open_tokens
from staff_engine.errors import ModelError, PlanError, RunError
from staff_engine.evaluation import run as evaluation_run
from staff_engine.evaluation.cells import FULL, NOTHING, Asked, cells_of, read_cell, read_cells, sha256_of
from staff_engine.evaluation.judging import held_out_losses
from staff_engine.evaluation.report import FACTS_FILE, open_evaluation
from staff_engine.models import adapters, finetune, loading
from staff_engine.pipelines import coreset as pipeline
from staff_engine.pipelines.steps import fresh_lora
from staff_engine.plan import EvaluationPlan, Plan
from staff_engine.program import COMMAND
from staff_engine.runs.results import open_results
from staff_engine.runs.score_tables import choose, small_scores
from staff_engine.selection.baselines import d2
from staff_engine.selection.methods import METHODS
from staff_engine.system.files import write_json
from tests.helpers.tiny_run import (
    Stopped,
    Watch,
)
from tests.helpers.tiny_run import make_run as make_source

METHODS_HERE = ("staff", "random", "grand")


def finished_source(folder, sources, **changes):
    """A finished run, for its coresets."""
    make_source(folder, sources, **changes)
    pipeline.execute(folder, Watch())
    write_json(folder / "timings.json", {"fine-tune": 4.0, "speculate": 3.0, "verify": 2.0})
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory, sources):
    return finished_source(tmp_path_factory.mktemp("source"), sources)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    rng = np.random.default_rng(1)
    rows = [
        {"prompt": "xyz " * int(rng.integers(1, 6)), "completion": chr(97 + i % 26) * int(rng.integers(1, 9))}
        for i in range(30)
    ]
    rows[3]["completion"] = ""
    path = tmp_path_factory.mktemp("held-out") / "held_out.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def make_run(folder, source, held_out, *, plan=None, **changes):
    settings = {
        "source": str(source), "methods": METHODS_HERE, "pruning_rates": (0.8,), "seeds": 2, "answers": 6,
        "held_out": held_out, "held_out_samples": 20, "answer_tokens": 8,
    }  # fmt: skip
    evaluation = EvaluationPlan.make(**{**settings, **changes})
    folder.mkdir(exist_ok=True)
    source_plan = json.loads((source / "plan.json").read_text())["plan"]
    record = {
        "name": "evaluated", "created": "2026-01-01T00:00:00Z", "versions": {},
        "plan": Plan.make(**{**source_plan, **(plan or {})}).model_dump(mode="json"),
        "evaluation": evaluation.model_dump(mode="json"),
    }  # fmt: skip
    write_json(folder / "plan.json", record)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, source, held_out):
    folder = make_run(tmp_path_factory.mktemp("run"), source, held_out)
    evaluation_run.execute(folder, Watch())
    return open_evaluation(folder)


def without_seconds(folder):
    return {cell.asked.key: cell.model_copy(update={"seconds": {}}) for cell in read_cells(folder)}


def cell_of(run, arm, **more):
    (found,) = [
        cell
        for cell in run.cells
        if cell.arm == arm and all(getattr(cell, name) == value for name, value in more.items())
    ]
    return found


def test_there_is_a_cell_for_every_arm_and_seed_and_one_for_nothing(finished):
    keys = [cell.asked.key for cell in finished.cells]
    assert keys == [
        "nothing", "full-s0", "staff-p0.8-s0-epochs", "random-p0.8-s0-epochs", "grand-small-p0.8-s0-epochs",
        "full-s1", "staff-p0.8-s1-epochs", "random-p0.8-s1-epochs", "grand-small-p0.8-s1-epochs",
    ]  # fmt: skip


def test_a_cell_says_what_it_was_trained_on(finished, source):
    results = open_results(source)
    table = small_scores(results)
    for cell in finished.cells:
        if cell.arm in METHODS:
            rows = choose(cell.arm, results, table, pruning_rate=0.8, seed=cell.seed)
            assert (cell.rows, cell.rows_sha256) == (12, sha256_of(rows))
            assert cell.steps == -(-12 * 2 // 8)
    full = cell_of(finished, FULL, seed=0)
    assert (full.rows, full.steps) == (58, -(-58 * 2 // 8))
    nothing = cell_of(finished, NOTHING)
    assert (nothing.rows, nothing.steps) == (0, 0)


def test_held_out_samples_are_those_that_can_be_read_up_to_the_cap(finished):
    for cell in finished.cells:
        assert len(cell.losses) == 20
        assert len(cell.answers) == 6
        assert cell.loss == pytest.approx(np.mean(cell.losses), abs=1e-5)
        assert cell.metric == pytest.approx(np.mean(cell.answers), abs=1e-3)


def test_nothing_is_the_untouched_targets_loss(finished, source):
    place = next((finished.folder / "held_out").iterdir())
    tokens = open_tokens(place / "tokens.arrow")
    plan = finished.plan.but(dtype=evaluation_run._number_format(open_results(source)))
    losses = held_out_losses(fresh_lora(plan, plan.target), tokens, pad_token_id=0, tokens_per_batch=256)
    assert cell_of(finished, NOTHING).loss == pytest.approx(losses.mean(), rel=1e-4)


def test_fine_tuning_changes_the_loss_and_seeds_differ(finished):
    losses = [cell.loss for cell in finished.cells]
    assert len(set(losses)) == len(losses)
    assert cell_of(finished, FULL, seed=0).loss < cell_of(finished, NOTHING).loss


def test_a_cell_is_what_finetune_makes_of_its_rows(finished, source, tmp_path):
    """The obvious way: the same fine-tuning, with checkpoints, into a folder, loaded again."""
    results, plan = open_results(source), finished.plan.but(seed=1)
    plan = plan.but(dtype=evaluation_run._number_format(open_results(source)))
    rows = choose("random", results, small_scores(results), pruning_rate=0.8, seed=1)
    tokens = open_tokens(finished.folder / "tokens.arrow")
    places = np.flatnonzero(np.isin(tokens.row_ids, rows))
    finetune.finetune(
        fresh_lora(plan, plan.target), [tokens[i] for i in places.tolist()], tokens.lengths[places],
        tmp_path / "adapter", pad_token_id=0, epochs=2, batch_size=8, learning_rate=1e-2, seed=1,
    )  # fmt: skip
    weights = loading.load_model(plan.target, device="cpu", dtype=plan.dtype)
    model = adapters.load_adapter(weights, tmp_path / "adapter")
    place = next((finished.folder / "held_out").iterdir())
    losses = held_out_losses(
        model, open_tokens(place / "tokens.arrow"), pad_token_id=0, tokens_per_batch=plan.tokens_per_batch
    )
    assert cell_of(finished, "random", seed=1).losses == tuple(np.round(losses, 6).tolist())


def test_a_run_that_is_stopped_anywhere_goes_on_and_makes_the_same_cells(
    finished, tmp_path, source, held_out
):
    folder = make_run(tmp_path / "run", source, held_out)
    for stage, after in (("import held-out", 0), ("tokenize", 0), ("evaluate", 3), ("evaluate", 7)):
        with pytest.raises(Stopped):
            evaluation_run.execute(folder, Watch(stop_in=stage, after=after))
    assert 7 <= len(read_cells(folder)) < 9
    evaluation_run.execute(folder, Watch())
    assert without_seconds(folder) == without_seconds(finished.folder)
    assert (folder / FACTS_FILE).read_bytes() == (finished.folder / FACTS_FILE).read_bytes()


def test_a_cancelled_fine_tuning_stops_after_the_step_at_hand(tmp_path, source, held_out):
    folder = make_run(tmp_path / "run", source, held_out)
    steps = []

    class Impatient(Watch):
        def message(self, text):
            steps.append(text)

        @property
        def cancelled(self):
            return len([text for text in steps if "step" in text]) >= 2

    with pytest.raises(Stopped):
        evaluation_run.execute(folder, Impatient())
    assert steps[-1] == "full, seed 0: step 2 of 15"
    assert [cell.arm for cell in read_cells(folder)] == [NOTHING]


def made(monkeypatch, *, instead=None):
    """The keys of the cells that are made from here on; `instead`: a run whose cells stand in for them."""
    keys = []
    make = evaluation_run.make_cell

    def counted(bench, asked, *more):
        keys.append(asked.key)
        return read_cell(instead, asked) if instead else make(bench, asked, *more)

    monkeypatch.setattr(evaluation_run, "make_cell", counted)
    return keys


def copy_of(finished, folder, source, held_out, **changes):
    import shutil

    shutil.copytree(finished.folder, folder)
    return make_run(folder, source, held_out, **changes)


def test_what_is_added_is_made_and_nothing_else(finished, tmp_path, source, held_out, monkeypatch):
    folder = copy_of(finished, tmp_path / "run", source, held_out, methods=(*METHODS_HERE, "el2n"), seeds=3)
    keys = made(monkeypatch)
    evaluation_run.execute(folder, Watch())
    assert keys == [
        "el2n-small-p0.8-s0-epochs", "el2n-small-p0.8-s1-epochs", "full-s2", "staff-p0.8-s2-epochs",
        "random-p0.8-s2-epochs", "grand-small-p0.8-s2-epochs", "el2n-small-p0.8-s2-epochs",
    ]  # fmt: skip
    before = without_seconds(finished.folder)
    assert {key: cell for key, cell in without_seconds(folder).items() if key in before} == before


def test_a_finished_evaluation_makes_nothing_again(finished, tmp_path, source, held_out, monkeypatch):
    folder = copy_of(finished, tmp_path / "run", source, held_out)
    keys = made(monkeypatch)
    watch = Watch()
    evaluation_run.execute(folder, watch)
    assert (keys, watch.stages) == ([], ["libraries", "evaluate"])


@pytest.mark.parametrize(
    "changes", [{"answer_tokens": 7}, {"held_out_samples": 19}, {"plan": {"learning_rate": 2e-2}}]
)
def test_cells_of_other_settings_are_not_trusted(changes, finished, tmp_path, source, held_out, monkeypatch):
    folder = copy_of(finished, tmp_path / "run", source, held_out, **changes)
    keys = made(monkeypatch, instead=finished.folder)
    evaluation_run.execute(folder, Watch())
    assert len(keys) == 9


def test_a_cell_of_other_rows_is_not_trusted(finished, tmp_path, source, held_out, monkeypatch):
    folder = copy_of(finished, tmp_path / "run", source, held_out)
    path = folder / "cells" / "random-p0.8-s1-epochs.json"
    write_json(path, {**json.loads(path.read_text()), "rows_sha256": "0" * 64})
    keys = made(monkeypatch)
    evaluation_run.execute(folder, Watch())
    assert keys == ["random-p0.8-s1-epochs"]
    assert without_seconds(folder) == without_seconds(finished.folder)


def test_with_equal_steps_every_coreset_takes_as_many_as_the_full_data(finished, tmp_path, source, held_out):
    folder = make_run(tmp_path / "run", source, held_out, methods=("random",), seeds=1, budget="both")
    evaluation_run.execute(folder, Watch())
    run = open_evaluation(folder)
    steps = {cell.asked.key: cell.steps for cell in run.cells}
    assert steps["full-s0"] == steps["random-p0.8-s0-steps"] == 15
    assert steps["random-p0.8-s0-epochs"] == 3
    assert without_seconds(folder)["full-s0"] == without_seconds(finished.folder)["full-s0"]


def test_the_others_may_read_the_fine_tuned_targets_scores(tmp_path, source, held_out, finished):
    folder = make_run(tmp_path / "run", source, held_out, seeds=1, baseline_scores="target")
    for stage, after in (("fine-tune target", 4), ("score on target", 20)):
        with pytest.raises(Stopped):
            evaluation_run.execute(folder, Watch(stop_in=stage, after=after))
    watch = Watch()
    evaluation_run.execute(folder, watch)
    assert watch.stages == ["libraries", "score on target", "evaluate"]
    run = open_evaluation(folder)
    grand = cell_of(run, "grand", scores="target")
    assert grand.rows == 12
    assert grand.rows_sha256 != cell_of(finished, "grand", seed=0).rows_sha256
    known = without_seconds(finished.folder)
    for key, cell in without_seconds(folder).items():
        if cell.scores is None:
            assert cell == known[key]
    assert evaluation_run.stages_of(run)[3:] == ("fine-tune target", "score on target", "evaluate")


def test_the_targets_scores_are_those_of_its_fine_tuning_on_all(tmp_path, source, held_out):
    folder = make_run(
        tmp_path / "run", source, held_out, seeds=1, baseline_scores="target", methods=("grand",)
    )
    evaluation_run.execute(folder, Watch())
    run = open_evaluation(folder)
    effort = evaluation_run._target_scores(
        run, open_results(source), open_tokens(folder / "tokens.arrow"), Watch()
    ).effort
    assert np.flatnonzero(np.isnan(effort)).tolist() == [7, 20]
    hardest = np.sort(np.argsort(-np.nan_to_num(effort))[:12])
    assert cell_of(run, "grand").rows_sha256 == sha256_of(hardest)


def test_a_further_runs_coreset_joins_under_its_label(tmp_path, source, sources, held_out):
    other = finished_source(tmp_path / "other", sources, tune_target=10)
    also = {"STAFF, tuned": str(other)}
    folder = make_run(tmp_path / "run", source, held_out, seeds=1, methods=("staff",), also=also)
    evaluation_run.execute(folder, Watch())
    run = open_evaluation(folder)
    cell = cell_of(run, "STAFF, tuned")
    assert cell.asked.key == "staff-tuned-p0.8-s0-epochs"
    assert cell.rows_sha256 == sha256_of(open_results(other).select(pruning_rate=0.8, seed=0).indices)


def test_a_further_run_on_other_data_is_refused(tmp_path, source, sources, held_out):
    other = finished_source(tmp_path / "other", sources, limit=30)
    folder = make_run(tmp_path / "run", source, held_out, also={"fewer": str(other)})
    with pytest.raises(RunError, match=r"run other \(fewer\) uses other data"):
        evaluation_run.execute(folder, Watch())


def test_samples_that_staff_has_still_to_verify_are_asked_for(tmp_path, source, held_out):
    folder = make_run(tmp_path / "run", source, held_out, pruning_rates=(0.8, 0.0))
    line = "unverified samples for STAFF at pruning rate 0; run this first: "
    with pytest.raises(RunError, match=f"{line}{COMMAND} verify source.* --pruning-rate 0"):
        evaluation_run.execute(folder, Watch())
    folder = make_run(tmp_path / "run", source, held_out, pruning_rates=(0.0,), methods=("random",), seeds=1)
    evaluation_run.execute(folder, Watch())
    run = open_evaluation(folder)
    assert cell_of(run, "random").losses == cell_of(run, FULL).losses


def test_own_data_needs_a_held_out_file(tmp_path, source):
    folder = make_run(tmp_path / "run", source, None)
    with pytest.raises(PlanError, match="has no held-out split; give a file"):
        evaluation_run.execute(folder, Watch())


def test_a_coreset_by_the_targets_scores_is_never_made_by_the_small_models(source, held_out, tmp_path):
    changes = {"methods": ("grand", "random"), "baseline_scores": "target"}
    run = open_evaluation(make_run(tmp_path / "run", source, held_out, **changes))
    results = open_results(source)
    choice = evaluation_run._Choice(
        run.evaluation, results, {}, small_scores(results), None, np.arange(results.num_rows)
    )
    line = "needs the target's scores, but this evaluation has not computed them"
    with pytest.raises(RunError, match=line):
        choice.coresets(cells_of(run.plan, run.evaluation))


def test_every_cell_of_d2_is_charged_with_a_search_for_neighbours(source, held_out, tmp_path, monkeypatch):
    looked = []
    search = d2.neighbour_graph
    monkeypatch.setattr(d2, "neighbour_graph", lambda *given: looked.append(given) or search(*given))
    changes = {"methods": ("d2", "random"), "pruning_rates": (0.8, 0.5), "budget": "both"}
    run = open_evaluation(make_run(tmp_path / "run", source, held_out, **changes))
    results = open_results(source)
    choice = evaluation_run._Choice(
        run.evaluation, results, {}, small_scores(results), None, np.arange(results.num_rows)
    )
    found = choice.coresets(cells_of(run.plan, run.evaluation))
    seconds = {}
    for asked, (_, took) in found.items():
        seconds.setdefault((asked.arm, asked.pruning_rate), set()).add(took)
    assert len(looked) == 2  # once a rate, whatever the seed and the budget
    assert [len(seconds["d2", rate]) for rate in (0.8, 0.5)] == [1, 1]


def test_without_answers_only_the_loss_is_measured(tmp_path, source, held_out):
    folder = make_run(tmp_path / "run", source, held_out, answers=0, methods=("random",), seeds=1)
    evaluation_run.execute(folder, Watch())
    run = open_evaluation(folder)
    assert {cell.metric for cell in run.cells} == {None}
    assert run.report.metric is None and run.report.rows[-1].metric is None


def test_held_out_samples_that_stand_in_the_data_are_told_of(tmp_path, source, sources):
    folder = make_run(tmp_path / "run", source, sources["dataset"], methods=("random",), seeds=1)
    evaluation_run.execute(folder, Watch())
    (warning,) = open_evaluation(folder).report.warnings
    assert warning == "58 of 58 held-out samples are also in the training data."  # two have no response


def test_a_held_out_file_that_was_changed_is_read_again(tmp_path, source, held_out):
    path = tmp_path / "held_out.jsonl"
    path.write_text(Path(held_out).read_text())
    changes = {"methods": ("random",), "seeds": 1, "answers": 0}
    folder = make_run(tmp_path / "run", source, str(path), **changes)
    evaluation_run.execute(folder, Watch())
    before = without_seconds(folder)
    watch = Watch()
    evaluation_run.execute(folder, watch)
    assert (watch.stages, without_seconds(folder)) == (["libraries", "evaluate"], before)
    path.write_text(path.read_text().replace("xyz", "zyx z"))
    watch = Watch()
    evaluation_run.execute(folder, watch)
    assert watch.stages == ["libraries", "import held-out", "evaluate"]
    after = without_seconds(folder)
    assert after.keys() == before.keys() and all(after[key].loss != before[key].loss for key in after)
    path.unlink()
    watch = Watch()
    evaluation_run.execute(folder, watch)
    assert (watch.stages, without_seconds(folder)) == (["libraries", "evaluate"], after)


def test_a_source_that_is_gone_is_named(tmp_path, source, held_out):
    folder = make_run(tmp_path / "run", source, held_out)
    record = json.loads((folder / "plan.json").read_text())
    record["evaluation"]["source"] = str(tmp_path / "deleted")
    write_json(folder / "plan.json", record)
    with pytest.raises(RunError, match="run deleted is missing or unfinished"):
        evaluation_run.execute(folder, Watch())


def test_a_target_that_is_not_there_is_named_before_any_work(tmp_path, source, held_out):
    folder = make_run(tmp_path / "run", source, held_out, plan={"target": "builtin:none"})
    watch = Watch()
    with pytest.raises(ModelError, match="builtin:none"):
        evaluation_run.execute(folder, watch)
    assert not watch.stages


def test_a_cell_that_is_not_there_is_none(tmp_path):
    assert read_cell(tmp_path, Asked("random", 0, 0.5, None, "epochs")) is None
