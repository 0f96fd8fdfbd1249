"""The cells of an evaluation: which there are, what their keys say, and their files."""

from typing import get_args

import pytest

from staff_engine.errors import PlanError
from staff_engine.evaluation.cells import (
    BUDGETS,
    FULL,
    NOTHING,
    Asked,
    cells_of,
    check_arms,
    read_cells,
    write_cell,
)
from staff_engine.evaluation_plan import EvaluationPlan
from tests.helpers.made_cells import PLAN, cell, evaluation


def test_a_cell_comes_back_from_its_file_as_it_was(tmp_path):
    asked = Asked("grand", 5, 0.95, "target", "steps")
    written = cell(asked, loss=1 / 3)
    write_cell(tmp_path, written)
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["grand-target-p0.95-s5-steps.json"]
    assert read_cells(tmp_path) == [written]
    assert written.asked == asked


def test_full_and_nothing_are_always_there_and_nothing_once():
    keys = [asked.key for asked in cells_of(PLAN, evaluation(seeds=2, budget="both", methods=("random",)))]
    assert keys == [
        "nothing", "full-s4", "random-p0.9-s4-epochs", "random-p0.9-s4-steps",
        "full-s5", "random-p0.9-s5-epochs", "random-p0.9-s5-steps",
    ]  # fmt: skip


@pytest.mark.parametrize("full_seeds, expected", [(None, [4, 5, 6]), (0, []), (1, [4]), (9, [4, 5, 6])])
def test_the_full_data_is_trained_on_for_the_first_seeds(full_seeds, expected):
    cells = cells_of(PLAN, evaluation(full_seeds=full_seeds))
    assert [cell.seed for cell in cells if cell.arm == FULL] == expected
    assert sum(cell.arm == "random" for cell in cells) == 3


def test_only_methods_that_read_scores_say_whose():
    scores = {asked.arm: asked.scores for asked in cells_of(PLAN, evaluation(baseline_scores="target"))}
    assert scores == {NOTHING: None, FULL: None, "staff": None, "random": None, "grand": "target"}


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"methods": ("best",)}, "method is 'best'; allowed: staff, staff-paper"),
        ({"also": {"Random": "runs/b"}}, "label 'Random' is already used"),
        ({"also": {"…": "runs/b"}}, "label of another run is '…'"),
        ({"also": {"a b": "runs/b", "A.b": "runs/c"}}, "label 'A.b' is already used"),
        ({"also": {"Target": "runs/b"}}, "label 'Target' is already used"),
        ({"also": {"GraNd target": "runs/b"}}, "label 'GraNd target' is already used"),
    ],
)
def test_a_wrong_arm_is_refused(changes, line):
    with pytest.raises(PlanError, match=line):
        check_arms(evaluation(**changes))


def test_labels_of_any_script_are_told_apart():
    labels = {"модель А": "runs/b", "модель Б": "runs/c", "模型": "runs/d"}
    check_arms(evaluation(also=labels))
    keys = {asked.key for asked in cells_of(PLAN, evaluation(also=labels, methods=("random",), seeds=1))}
    assert {f"{label}-p0.9-s4-epochs" for label in ("модель-а", "модель-б", "模型")} < keys


def test_a_rate_or_a_method_given_twice_is_one():
    plan = evaluation(methods=("random", "random"), pruning_rates=(0.9, 0.5, 0.9), seeds=1)
    keys = [asked.key for asked in cells_of(PLAN, plan)]
    assert keys == ["nothing", "full-s4", "random-p0.9-s4-epochs", "random-p0.5-s4-epochs"]


def test_another_cut_is_another_cell_of_the_methods_that_cut():
    def keys(**changes):
        plan = evaluation(methods=("staff", "random", "grand", "ccs", "d2"), seeds=1, **changes)
        return {asked.key for asked in cells_of(PLAN, plan)}

    assert keys() == keys(beta=PLAN.drop_hardest)
    assert keys() - keys(beta=0.4) == {f"{name}-small-p0.9-s4-epochs" for name in ("ccs", "d2")}
    assert keys(beta=0.4) - keys() == {f"{name}-small-b0.4-p0.9-s4-epochs" for name in ("ccs", "d2")}


def test_another_number_of_strata_is_another_cell_of_ccs():
    def keys(**changes):
        plan = evaluation(methods=("staff", "random", "ccs", "d2"), seeds=1, **changes)
        return {asked.key for asked in cells_of(PLAN, plan)}

    assert keys() == keys(baseline_strata=50)
    assert keys() - keys(baseline_strata=7) == {"ccs-small-p0.9-s4-epochs"}
    assert keys(baseline_strata=7, beta=0.4) - keys(beta=0.4) == {"ccs-small-b0.4-k7-p0.9-s4-epochs"}


def test_equal_time_has_no_cell_of_equal_steps_and_equal_tokens_has():
    plan = evaluation(methods=("random-time", "random-tokens", "staff-paper"), seeds=1, budget="both")
    keys = {asked.key for asked in cells_of(PLAN, plan)}
    assert keys == {
        "nothing", "full-s4", "random-time-p0.9-s4-epochs", "random-tokens-p0.9-s4-epochs",
        "random-tokens-p0.9-s4-steps", "staff-paper-p0.9-s4-epochs", "staff-paper-p0.9-s4-steps",
    }  # fmt: skip


def test_methods_about_a_small_model_read_its_scores_whatever_the_others_read():
    methods = ("s2l", "superfiltering", "grand", "random")
    plan = evaluation(methods=methods, seeds=1, baseline_scores="target")
    scores = {asked.arm: asked.scores for asked in cells_of(PLAN, plan)}
    assert [scores[method] for method in methods] == ["small", "small", "target", None]


def test_a_plan_allows_each_budget_that_there_is():
    assert get_args(EvaluationPlan.model_fields["budget"].annotation) == tuple(BUDGETS)
