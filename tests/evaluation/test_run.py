"""Whole evaluation runs on tiny models: their cells, and that interruptions do not change them."""

import json

import numpy as np
import pytest

from staff_engine.data.tokens import open_tokens
from staff_engine.evaluation import run as evaluation_run
from staff_engine.evaluation.cells import FULL, NOTHING, read_cell, read_cells, sha256_of
from staff_engine.evaluation.judging import held_out_losses
from staff_engine.evaluation.report import FACTS_FILE, open_evaluation
from staff_engine.models import adapters, finetune, loading
from staff_engine.pipelines.adapted import fresh_lora
from staff_engine.runs.results import open_results
from staff_engine.runs.score_tables import choose, small_scores
from staff_engine.selection.methods import METHODS
from staff_engine.system.files import write_json
from tests.helpers.evaluated_run import (
    METHODS_HERE,
    cell_of,
    copy_of,
    make_run,
    without_seconds,
)
from tests.helpers.tiny_run import Stopped, Watch


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
