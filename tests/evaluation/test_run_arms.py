"""Evaluation runs on tiny models: what each arm is trained on, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from staff_engine.data.tokens import open_tokens
from staff_engine.errors import ModelError, PlanError, RunError
from staff_engine.evaluation import run as evaluation_run
from staff_engine.evaluation.cells import FULL, Asked, cells_of, read_cell, sha256_of
from staff_engine.evaluation.report import open_evaluation
from staff_engine.program import COMMAND
from staff_engine.runs.results import open_results
from staff_engine.runs.score_tables import choose, small_scores
from staff_engine.selection.baselines import d2
from staff_engine.system.files import write_json
from tests.helpers.evaluated_run import (
    cell_of,
    finished_source,
    make_run,
    without_seconds,
)
from tests.helpers.tiny_run import Stopped, Watch


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


def test_variants_of_staff_and_random_at_other_budgets_are_arms_like_any_other(tmp_path, source, held_out):
    methods = ("staff", "staff-unverified", "random-tokens", "random-time")
    folder = make_run(tmp_path / "run", source, held_out, methods=methods, seeds=1, answers=0)
    evaluation_run.execute(folder, Watch())
    run, results = open_evaluation(folder), open_results(source)
    for method in methods:
        rows = choose(method, results, small_scores(results), pruning_rate=0.8, seed=0)
        cell = cell_of(run, method)
        assert (cell.rows, cell.rows_sha256) == (len(rows), sha256_of(rows))
    assert cell_of(run, "random-time").rows > cell_of(run, "staff").rows
    seconds = run.facts.selection_seconds
    assert set(seconds) == {"small", "staff", "staff-unverified"}
    assert (seconds["small"], seconds["staff-unverified"]) == (7.0, 7.0)
    assert seconds["staff"] == pytest.approx(9.0)  # the run has verified nothing for other settings


def test_a_preset_that_needs_more_verification_is_refused_with_the_command(tmp_path, source, held_out):
    folder = make_run(tmp_path / "run", source, held_out, methods=("random", "staff-paper"))
    line = r"unverified samples for STAFF \(Paper\) at pruning rate 0.8; run this first: "
    with pytest.raises(RunError, match=f"{line}{COMMAND} verify source.* --strata 50"):
        evaluation_run.execute(folder, Watch())


def test_a_preset_whose_score_the_run_lacks_is_refused_with_the_command(tmp_path, source, held_out):
    folder = make_run(tmp_path / "run", source, held_out, methods=("random", "staff-studio"))
    line = "score 'ifd' needs loss_without_prompt, which run source.* does not have; to compute it: "
    with pytest.raises(RunError, match=f"{line}{COMMAND} verify source.* --score ifd"):
        evaluation_run.execute(folder, Watch())


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
