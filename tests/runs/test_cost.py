import pytest

from staff_engine.runs.cost import Cost, run_cost
from staff_engine.runs.summary import Summary

TIMINGS = {"import": 9.0, "fine-tune": 30.0, "speculate": 6.0, "verify": 4.0}
SECONDS = {"full_target_seconds_estimate": 40.0, "small_scoring_seconds": 5.0}
SUMMARY = Summary(
    samples=60, unscorable=0, strata=5, strata_served=5, verified=6, to_verify=0, coreset_size=6, **SECONDS
)


def test_the_cost_is_that_of_the_models_stages():
    cost = run_cost(SUMMARY, TIMINGS)
    assert (cost.staff, cost.full) == (40.0, 40.0)


def test_tuning_the_target_is_part_of_the_cost_and_not_of_what_it_is_held_against():
    before, after = run_cost(SUMMARY, TIMINGS), run_cost(SUMMARY, {**TIMINGS, "tune target": 4.0})
    assert (after.staff, after.full, after.training) == (before.staff + 4.0, before.full, before.training)


def test_what_is_saved_is_below_zero_where_more_was_spent():
    assert Cost(staff=30, full=40).saved == 0.25
    assert Cost(staff=60, full=40).saved == -0.5
    assert Cost(staff=60, full=None).saved is None


def test_the_overhead_is_held_against_fine_tuning_the_target_and_scoring_everything_on_it():
    cost = run_cost(SUMMARY, TIMINGS)
    assert cost.training == 30 / 5 * 40  # the small model trains for six times as long as it scores
    assert cost.overhead == pytest.approx(40 / (240 + 40))


@pytest.mark.parametrize("missing", SECONDS)
def test_nothing_is_said_of_the_overhead_where_a_measure_of_it_is_missing(missing):
    cost = run_cost(SUMMARY.model_copy(update={missing: None}), TIMINGS)
    assert cost.training is None and cost.overhead is None
