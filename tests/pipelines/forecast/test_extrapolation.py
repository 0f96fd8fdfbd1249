"""What measured batches say of a whole run."""

import numpy as np
import pytest

from staff_engine.models.finetune import training_order
from staff_engine.pipelines.forecast.extrapolation import (
    Forecast,
    Speed,
    Training,
    advice,
    extrapolate,
    fit_speed,
    plan_steps,
    shapes,
)
from staff_engine.plan import Plan
from staff_engine.selection.verification import draw_verification
from tests.helpers.made_measured import make_measured

PLAN = Plan.make(dataset="data.jsonl", small="small", target="target", strata=20, verify_per_stratum=5)


# --- the speed of batches


def test_a_speed_is_found_again_from_batches_that_follow_it():
    true = Speed(batch=0.02, token=3e-5, pair=2e-7)
    rng = np.random.default_rng(1)
    batches = np.stack([rng.integers(1, 40, 30), rng.integers(5, 500, 30)], axis=1)
    seconds = [true.seconds(batch[None]) for batch in batches]
    found = fit_speed(batches, seconds)
    assert found.batch == pytest.approx(true.batch, rel=1e-3)
    assert found.token == pytest.approx(true.token, rel=1e-3)
    assert found.pair == pytest.approx(true.pair, rel=1e-3)


def test_batches_that_were_held_up_hardly_move_the_speed():
    true = Speed(batch=0, token=1e-4, pair=1e-7)
    rng = np.random.default_rng(2)
    batches = np.stack([rng.integers(1, 40, 20), rng.integers(5, 500, 20)], axis=1)
    seconds = np.array([true.seconds(batch[None]) for batch in batches])
    seconds[[3, 8, 15]] *= 7
    assert fit_speed(batches, seconds).seconds(batches) == pytest.approx(true.seconds(batches), rel=0.02)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_batches_give_seconds_for_each_token_only(count):
    batches = np.array([(4, 100), (8, 50), (2, 200), (10, 40)])[:count]
    speed = fit_speed(batches, [0.8] * count)
    assert (speed.batch, speed.token, speed.pair) == (0, pytest.approx(0.002), 0)


def test_no_speed_makes_a_batch_take_less_than_nothing():
    rng = np.random.default_rng(3)
    for _ in range(50):
        batches = np.stack([rng.integers(1, 9, 6), rng.integers(5, 90, 6)], axis=1)
        speed = fit_speed(batches, rng.uniform(0.001, 1, 6))
        assert min(speed.batch, speed.token, speed.pair) >= 0
        assert speed.seconds(batches) > 0


def test_planned_steps_have_the_padding_of_a_real_epoch():
    lengths = np.random.default_rng(0).integers(5, 500, 1200)
    order = training_order(lengths, epochs=1, batch_size=8, seed=0)
    real = shapes(lengths, [np.array(order[start : start + 8]) for start in range(0, 1200, 8)])
    planned = plan_steps(lengths, 8)
    assert len(planned) == len(real)
    assert planned.prod(axis=1).sum() == pytest.approx(real.prod(axis=1).sum(), rel=0.02)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (7, 8), (8, 8), (9, 2), (33, 8)])
def test_steps_are_planned_for_every_sample_once(count, batch_size):
    planned = plan_steps(np.arange(1, count + 1), batch_size)
    assert planned[:, 0].sum() == count
    assert planned[:, 1].max() == count


# --- from what was measured to a whole run


def test_a_forecast_is_the_sum_of_its_parts():
    said = extrapolate(PLAN, make_measured())
    assert said.state == "done"
    assert said.samples == 1000
    assert said.tokens == 25_000
    assert (said.stages["libraries"], said.stages["check"]) == (4.0, 2.0 + 5.0)
    assert said.stages["import"] == pytest.approx(0.5 + 1000 * 0.002)
    assert said.stages["tokenize"] == pytest.approx(3 + 1000 * 0.001)
    steps, epochs = 125, 3
    assert said.stages["fine-tune"] == pytest.approx(4 + epochs * steps * 0.1 + (375 // 37 + 1) * 0.5)
    assert said.stages["speculate"] == pytest.approx(2 + 25.0, rel=0.05)
    assert said.full_target_seconds == pytest.approx(250.0, rel=0.05)
    assert said.total_seconds == pytest.approx(sum(said.stages.values()))
    spent = said.stages["fine-tune"] + said.stages["speculate"] + said.stages["verify"]
    assert said.share_saved == pytest.approx(1 - spent / said.full_target_seconds)
    assert said.memory_bytes == 10**9


TUNING = Training(start=6.0, step=Speed(batch=1.0, token=0, pair=0), checkpoint=2.0)


def test_tuning_the_target_is_a_stage_of_its_own_and_is_spent_time():
    measured = make_measured(tuning=TUNING)
    without, said = extrapolate(PLAN, measured), extrapolate(PLAN.but(tune_target=40), measured)
    assert list(said.stages) == [
        "libraries", "import", "tokenize", "check", "fine-tune", "speculate", "tune target", "verify"
    ]  # fmt: skip
    steps, epochs = 5, 3
    tuning = 6 + 40 * 0.001 + epochs * steps * 1.0 + (15 // 10 + 1) * 2.0
    assert said.stages["tune target"] == pytest.approx(tuning)
    assert {**said.stages, **without.stages} == said.stages
    assert said.total_seconds == pytest.approx(without.total_seconds + tuning)
    assert said.full_target_seconds == without.full_target_seconds
    assert said.share_saved == pytest.approx(without.share_saved - tuning / said.full_target_seconds)
    assert said.verified == without.verified


def test_scoring_responses_without_prompts_is_spent_time_of_both_models_where_the_plan_does():
    alone = {
        "alone": Speed(batch=0, token=4e-4, pair=0),
        "responses": tuple(np.resize([5, 11], 100).tolist()),
    }
    plain = make_measured()
    measured = make_measured(
        small=plain.small.model_copy(update=alone), target=plain.target.model_copy(update=alone)
    )
    without, said = extrapolate(PLAN, measured), extrapolate(PLAN.but(ifd=True), measured)
    added = ["speculate without prompt", "verify without prompt"]
    assert [stage for stage in said.stages if stage not in without.stages] == added
    assert said.stages[added[0]] == pytest.approx(2 + 1000 * 8 * 4e-4, rel=0.1)  # loading and mean length
    assert said.stages[added[1]] == pytest.approx(5 + said.verified * 8 * 4e-4, rel=0.2)
    assert said.total_seconds == pytest.approx(
        without.total_seconds + sum(said.stages[each] for each in added)
    )
    assert said.share_saved < without.share_saved
    assert extrapolate(PLAN.but(score="ifd"), measured).stages == said.stages


def test_verifying_in_rounds_is_forecast_with_its_whole_budget():
    measured = make_measured()
    rounds = PLAN.but(adaptive=True, allocation="proportional")
    assert extrapolate(rounds, measured) == extrapolate(PLAN, measured)


def test_the_target_is_tuned_on_no_more_samples_than_there_are_beside_the_verified():
    measured = make_measured(rows=200, tuning=TUNING)
    many, all_of_them = (extrapolate(PLAN.but(tune_target=count), measured) for count in (5000, 180))
    assert many.stages == all_of_them.stages
    every = PLAN.but(tune_target=50, strata=1, verify_per_stratum=1000)
    assert extrapolate(every, measured).stages["tune target"] == 0, "the target is not even loaded"


def test_what_is_verified_is_bounded_by_the_budget_and_by_what_is_left_of_the_samples():
    said = extrapolate(PLAN, make_measured())
    assert 0 < said.verified <= said.verified_at_most == 20 * 5
    said = extrapolate(PLAN.but(strata=500, drop_hardest=0.2), make_measured(rows=40))
    assert said.verified_at_most == 32
    said = extrapolate(PLAN.but(strata_by="quantile"), make_measured())
    assert said.verified == 100


def test_the_number_verified_is_near_what_such_scores_give():
    """The scores that were measured are 100 of 5,000; the strata's tails are not all filled."""
    efforts = np.random.default_rng(5).lognormal(sigma=0.6, size=5000)
    plan = PLAN.but(strata=50, verify_per_stratum=10)
    settings = {
        "num_strata": 50, "per_stratum": 10, "drop_hardest": plan.drop_hardest,
        "pruning_rate": plan.pruning_rate,
    }  # fmt: skip
    real = len(draw_verification(efforts, **settings))
    measured = make_measured(rows=5000, efforts=tuple(efforts[:100].tolist()))
    assert extrapolate(plan, measured).verified == pytest.approx(real, rel=0.1)


def test_nothing_to_verify_does_not_load_the_target():
    said = extrapolate(PLAN.but(verify_per_stratum=0), make_measured())
    assert said.stages["verify"] == 0
    assert said.verified == said.verified_at_most == 0


def test_rows_that_cannot_be_scored_are_left_out_of_the_whole_too():
    measured = make_measured()
    lengths = [length * (place % 2) for place, length in enumerate(measured.small.lengths)]
    small = measured.small.model_copy(update={"lengths": tuple(lengths)})
    assert extrapolate(PLAN, measured.model_copy(update={"small": small})).samples == 500


def test_ten_times_the_rows_take_ten_times_the_time_beyond_any_that_are_planned_one_by_one():
    few, many = (extrapolate(PLAN, make_measured(rows=rows)) for rows in (200_000, 2_000_000))
    for stage, start in (("fine-tune", 4.0), ("speculate", 2.0)):
        assert many.stages[stage] - start == pytest.approx(10 * (few.stages[stage] - start), rel=0.05)
    assert many.verified == pytest.approx(few.verified, abs=2)


def test_a_small_model_of_equal_or_no_effort_is_forecast_too():
    for efforts in ([0.0] * 100, [1.5] * 100, [0.0] * 99 + [2.0]):
        said = extrapolate(PLAN, make_measured(efforts=tuple(efforts)))
        assert 0 < said.verified <= said.verified_at_most


def test_a_forecast_is_read_back_from_json():
    said = extrapolate(PLAN, make_measured())
    assert Forecast.model_validate_json(said.model_dump_json()) == said
    with pytest.raises(ValueError, match="frozen"):
        said.state = "failed"


def done(**said):
    return Forecast(state="done", **{"samples": 600, "verified_at_most": 100, "share_saved": 0.3, **said})


def test_a_forecast_that_saves_enough_needs_no_advice():
    assert advice(PLAN, done()) == ""
    assert advice(PLAN, done(samples=None)) == ""


def test_verifying_most_of_the_samples_is_said_with_the_strata_that_verify_a_fifth():
    said = advice(PLAN.but(verify_per_stratum=10), done(verified_at_most=500))
    assert "more than half" in said
    assert "12 strata" in said  # 600 / 5 / 10


def test_taking_longer_than_the_target_alone_is_said_with_what_helps():
    said = advice(PLAN, done(share_saved=-0.86))
    assert "1.9 times as long" in said
    assert "Fewer epochs" in said


def test_every_checkpoint_but_the_last_adds_a_forward_pass_over_all_samples():
    measured = make_measured()
    without, once, more = (extrapolate(PLAN.but(checkpoints=count), measured) for count in (0, 1, 5))
    assert "trajectories" not in without.stages
    assert once.stages["trajectories"] == 0
    load = measured.small.load
    scoring = without.stages["speculate"] - load
    assert more.stages["trajectories"] == pytest.approx(4 * (load + scoring / 3))
    assert more.total_seconds == pytest.approx(without.total_seconds + more.stages["trajectories"])


def test_equal_ratios_verify_nothing():
    forecast = extrapolate(PLAN.but(ratio="equal"), make_measured())
    assert (forecast.verified, forecast.verified_at_most, forecast.stages["verify"]) == (0, 0, 0.0)


def test_several_processes_divide_the_batches_but_not_the_loading():
    step = Speed(batch=0.0, token=1e-3, pair=0.0)
    training = Training(start=1.0, step=step, checkpoint=0.0)
    measured = make_measured().model_copy(update={"finetuning": training})
    one, four = (extrapolate(PLAN.but(processes=count), measured) for count in (1, 4))
    assert four.full_target_seconds == pytest.approx(one.full_target_seconds / 4)
    for stage, start in (("speculate", measured.small.load), ("fine-tune", training.start)):
        seconds = [each.stages[stage] - start for each in (one, four)]
        assert seconds[1] == pytest.approx(seconds[0] / 4, rel=0.02)  # a last batch can be short
    assert four.stages["import"] == one.stages["import"]
