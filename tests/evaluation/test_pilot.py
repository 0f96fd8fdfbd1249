"""A pilot: as many seeds as the time allows, two arms, loss only."""

import pytest

from staff_engine.errors import PlanError
from staff_engine.evaluation import planning
from staff_engine.evaluation.cells import FULL, NOTHING, cells_of
from staff_engine.evaluation.estimate import Estimate
from staff_engine.evaluation.pilot import FEWEST_SEEDS, MOST_SEEDS, plan_pilot
from tests.helpers.made_evaluation import write_held_out
from tests.helpers.made_run import make_finished_run

SECONDS_OF_A_SEED = 60.0


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return make_finished_run(tmp_path)


@pytest.fixture
def held_out(tmp_path):
    return write_held_out(tmp_path / "held_out.jsonl")


@pytest.fixture
def slow(monkeypatch):
    """Every seed of a pilot takes a minute."""

    def estimate(plan, evaluation, run=None, *, source=None):
        return Estimate(0, 0.0, evaluation.seeds * SECONDS_OF_A_SEED, 0.0, "made up")

    monkeypatch.setattr(planning, "estimate_of", estimate)


@pytest.mark.parametrize(("minutes", "seeds"), [(2, 2), (3.5, 3), (10, 10), (1000, MOST_SEEDS)])
def test_it_has_as_many_seeds_as_the_time_allows(source, held_out, slow, minutes, seeds):
    made = plan_pilot(source, minutes=minutes, held_out=held_out)
    assert made.evaluation.seeds == seeds
    assert made.estimate.seconds == seeds * SECONDS_OF_A_SEED
    assert f"with {seeds} seeds" in made.words


def test_it_judges_the_runs_coreset_beside_random_ones_by_loss_alone(source, held_out):
    made = plan_pilot(source, held_out=held_out)
    cells = cells_of(made.plan, made.evaluation)
    assert {cell.arm for cell in cells} == {NOTHING, "staff", "random"}
    assert FULL not in {cell.arm for cell in cells}
    assert {cell.pruning_rate for cell in cells if cell.arm != NOTHING} == {made.plan.pruning_rate}
    assert made.evaluation.answers == 0


def test_a_time_that_two_seeds_do_not_fit_into_is_refused_with_the_time_they_need(source, held_out, slow):
    with pytest.raises(PlanError, match=r"2 min 00 s with 2 seeds; minutes is 1\.5, allowed: at least 2\.0"):
        plan_pilot(source, minutes=1.5, held_out=held_out)
    assert plan_pilot(source, minutes=2.0, held_out=held_out).evaluation.seeds == FEWEST_SEEDS


def test_without_target_scores_its_time_is_unknown(source, held_out, monkeypatch):
    monkeypatch.setattr(planning, "estimate_of", lambda *_, **__: None)
    with pytest.raises(PlanError, match="has verified no samples, so the time of a pilot is unknown"):
        plan_pilot(source, held_out=held_out)


def test_a_pilot_can_be_extended_like_any_evaluation(source, held_out):
    made = plan_pilot(source, held_out=held_out, minutes=1000)
    run = planning.create(made.plan, made.evaluation)
    more = planning.extended(run, seeds=12, methods=("d2",))
    assert more.seeds == 12 and more.full_seeds == 0
    assert set(more.methods) == {"staff", "random", "d2"}
