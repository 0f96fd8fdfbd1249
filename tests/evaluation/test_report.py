"""The results from cells: means, intervals, differences from random, cost; checked with SciPy and by hand."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats

from staff_engine.charts.evaluation import table_frame
from staff_engine.errors import RunError
from staff_engine.evaluation.cells import (
    FULL,
    NOTHING,
    Asked,
    cells_of,
    sha256_of,
    write_cell,
)
from staff_engine.evaluation.power import Power, detectable, interval, spread_of
from staff_engine.evaluation.report import (
    FACTS_FILE,
    Evaluation,
    judging_of,
    loss_difference,
    mean_over_seeds,
    open_evaluation,
    paired_difference,
    read_evaluation,
)
from staff_engine.evaluation.wording import power_sentences
from staff_engine.system.files import write_json
from tests.helpers.made_cells import LOSSES, PLAN, cell, evaluation, make


def row(report, arm, **wanted):
    found = [r for r in report.rows if r.arm == arm and all(getattr(r, k) == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0]


def test_the_interval_over_seeds_is_students():
    values = [2.0, 2.1, 2.3]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    found = mean_over_seeds(values)
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert found.seeds == 3


@pytest.mark.parametrize("values", [[0.1, 0.1, 0.1], [2.5, 2.5], [0.0, 0.0], [1.0, 1.0 + 1e-15]])
def test_seeds_that_agree_have_an_interval_as_narrow_as_that(values):
    found = mean_over_seeds(values)
    assert (found.low, found.high) == pytest.approx((values[0], values[0]), abs=1e-13)
    assert found.low <= found.value <= found.high


def test_a_fine_tuning_that_diverged_leaves_no_interval():
    found = mean_over_seeds([math.nan, 1.0])
    assert math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.high)


def test_one_seed_has_a_mean_and_no_interval():
    found = mean_over_seeds([2.0])
    assert found.value == 2.0 and math.isnan(found.low) and math.isnan(found.high)
    assert not found.tells


def test_differences_are_paired_by_seed():
    ours, theirs = {1: 2.0, 2: 2.1, 3: 2.3, 9: 7.0}, {3: 2.45, 2: 2.4, 1: 2.2}
    low, high = stats.ttest_rel([2.0, 2.1, 2.3], [2.2, 2.4, 2.45]).confidence_interval(0.95)
    found = paired_difference(ours, theirs)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.seeds == 3
    assert paired_difference({1: 1.0}, {2: 1.0}) is None


def test_every_arm_has_its_mean_and_its_difference_to_random(tmp_path):
    report = make(tmp_path).report
    staff = row(report, "staff")
    assert staff.loss == mean_over_seeds(LOSSES["staff"])
    assert staff.loss_to_random == mean_over_seeds(np.subtract(LOSSES["staff"], LOSSES["random"]))
    assert staff.metric_to_random.value == pytest.approx(10 * staff.loss_to_random.value)
    assert row(report, "random").loss_to_random is None
    assert row(report, FULL).loss_to_random is None
    assert row(report, NOTHING).loss.seeds == 1
    assert (report.cells, report.planned) == (1 + 3 * 4, 13)


def test_what_is_said_follows_from_the_interval(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir(), (tmp_path / "c").mkdir()
    report = make(tmp_path / "a", answers=0).report
    low, high = stats.ttest_rel(LOSSES["staff"], LOSSES["random"]).confidence_interval(0.95)
    assert low < high < 0
    (sentence,) = report.sentences
    assert sentence.startswith("At 90% removed: STAFF is better than random by held-out loss")
    alike = {**LOSSES, "staff": [2.3, 2.3, 2.45]}
    (sentence,) = make(tmp_path / "b", losses=alike, answers=0).report.sentences
    assert "STAFF shows no significant difference from random in held-out loss" in sentence
    assert "and its 95 % interval," in sentence and sentence.endswith("includes 0.")
    (sentence,) = make(tmp_path / "c", evaluation(seeds=1), answers=0).report.sentences
    assert "One seed cannot show how much of this is chance" in sentence


def test_better_is_a_lower_loss_and_a_higher_metric(tmp_path):
    report = make(tmp_path).report
    assert "better than random by held-out loss" in report.sentences[0]
    assert "worse than random by ROUGE-L" in report.sentences[1]


def test_a_selections_time_is_a_share_of_the_fine_tuning_on_all(tmp_path):
    report = make(tmp_path).report
    assert row(report, "staff").selection_share == pytest.approx((45 + 0.5) / 10)
    assert row(report, "grand").selection_share == pytest.approx((30 + 0.5) / 10)
    assert row(report, "random").selection_share == pytest.approx(0.5 / 10)
    assert row(report, FULL).selection_share is None


def test_scores_of_the_target_cost_its_fine_tuning_and_scoring(tmp_path):
    timings = {"fine-tune target": 100.0, "score on target": 20.0, "evaluate": 7.0}
    report = make(tmp_path, evaluation(baseline_scores="target"), timings=timings).report
    assert row(report, "grand", scores="target").selection_seconds == pytest.approx(120.5)
    assert row(report, "staff").selection_seconds == pytest.approx(45.5)


def test_without_the_timings_it_is_not_made_up(tmp_path):
    report = make(tmp_path, evaluation(baseline_scores="target")).report
    assert row(report, "grand").selection_share is None


def test_a_cell_that_was_made_with_something_else_does_not_count(tmp_path):
    found = make(tmp_path)
    asked = Asked("staff", 5, 0.9, None, "epochs")
    write_cell(tmp_path, cell(asked, loss=0.0, made_with={"target": "other"}))
    assert row(found.report, "staff").loss == mean_over_seeds([2.0, 2.3])


def test_a_damaged_cell_is_left_out(tmp_path):
    found = make(tmp_path)
    (tmp_path / "cells" / "staff-p0.9-s5-epochs.json").write_text("{")
    assert row(found.report, "staff").loss.seeds == 2


def test_the_mean_over_tokens_weighs_long_responses_more(tmp_path):
    facts = make(tmp_path).facts
    assert np.isnan(facts.token_mean((1.0, 4.0)))  # older files do not have the lengths
    assert facts.model_copy(update={"response_tokens": (1, 3)}).token_mean((1.0, 4.0)) == 3.25


def test_a_variant_of_staff_has_a_sentence_and_its_own_cost(tmp_path):
    plan = evaluation(methods=("staff-paper", "random", "random-time"))
    found = make(tmp_path, plan)
    facts = found.facts.model_copy(update={"selection_seconds": {"small": 30.0, "staff-paper": 33.0}})
    write_json(tmp_path / FACTS_FILE, facts.model_dump(mode="json"))
    report = found.report
    assert row(report, "staff-paper").selection_seconds == pytest.approx(33.5)
    assert row(report, "random-time").selection_seconds == pytest.approx(0.5)
    assert [sentence.partition(" in held-out")[0] for sentence in report.sentences if "loss" in sentence] == [
        "At 90% removed: STAFF (Paper) shows no significant difference from random"
    ]


def test_rows_and_steps_are_means_where_they_depend_on_the_seed(tmp_path):
    found = make(tmp_path, evaluation(methods=("random-tokens", "random")))
    drawn = [each for each in found.cells if each.arm == "random-tokens"]
    for each, rows in zip(drawn, (5, 6, 10), strict=True):
        write_cell(tmp_path, each.model_copy(update={"rows": rows, "steps": 2 * rows}))
    report = replace(found).report
    assert (row(report, "random-tokens").rows, row(report, "random-tokens").steps) == (7, 14)


def test_cells_of_another_cut_do_not_count(tmp_path):
    found = make(tmp_path, evaluation(methods=("random", "ccs")))
    assert row(found.report, "ccs").loss.seeds == 3
    cut = replace(found, evaluation=found.evaluation.but(beta=0.4))
    assert (cut.report.cells, cut.report.planned) == (7, 10)
    assert "ccs" not in {row.arm for row in cut.report.rows}


@pytest.mark.parametrize(
    "change", [{"answers": 2}, {"held_out_samples": 2}, {"metric": "chrf"}, {"held_out": "other.jsonl"}]
)
def test_cells_that_were_judged_otherwise_do_not_count(change, tmp_path):
    found = make(tmp_path)
    facts = found.facts.model_copy(update={"judging": judging_of(found.evaluation)})
    write_json(tmp_path / FACTS_FILE, facts.model_dump(mode="json"))
    assert len(Evaluation(tmp_path, PLAN, found.evaluation).cells) == 13
    assert Evaluation(tmp_path, PLAN, found.evaluation.but(**change)).cells == []


def test_a_cell_of_other_rows_than_the_coreset_has_now_does_not_count(tmp_path):
    found = make(tmp_path)
    asked = Asked("staff", 5, 0.9, None, "epochs")
    facts = found.facts.model_copy(update={"coresets": {asked.key: sha256_of(np.arange(1, 7))}})
    write_json(tmp_path / FACTS_FILE, facts.model_dump(mode="json"))
    assert row(found.report, "staff").loss == mean_over_seeds([2.0, 2.3])


def test_a_fine_tuning_that_diverged_is_called_so(tmp_path):
    report = make(tmp_path, losses={**LOSSES, "staff": [2.0, float("nan"), 2.3]}, answers=0).report
    assert report.sentences == (
        "At 90% removed: STAFF cannot be compared with random by held-out loss: a fine-tuning diverged"
        " (its result is not a number).",
    )


def test_the_report_is_json_without_nan(tmp_path):
    report = make(tmp_path, evaluation(seeds=1)).report
    text = json.dumps(report.as_json(), allow_nan=False)
    assert json.loads(text)["rows"][0]["loss"]["low"] is None


def test_before_the_first_cell_there_is_no_report(tmp_path):
    assert read_evaluation(tmp_path) is None
    with pytest.raises(RunError, match="has no finished cell yet"):
        _ = Evaluation(tmp_path, PLAN, evaluation()).report


def test_other_runs_are_no_evaluation(tmp_path):
    record = {"name": "a", "created": "2026-01-01T00:00:00Z", "versions": {}, "plan": PLAN.model_dump()}
    write_json(tmp_path / "plan.json", record)
    with pytest.raises(RunError, match="is not an evaluation"):
        open_evaluation(tmp_path)


def test_a_metric_that_there_is_not_is_named_with_its_file(tmp_path):
    found = make(tmp_path)
    facts = found.facts.model_dump(mode="json")
    write_json(tmp_path / FACTS_FILE, {**facts, "metric": "bleu"})
    with pytest.raises(RunError, match=r"evaluation\.json is damaged: metric"):
        _ = found.facts


def judged(rng, *, seeds=4, held_out=40, effect=0.0, by_row=0.3):
    """Cells of two arms by seed, whose losses differ by an effect, and more or less by held-out sample."""
    of_rows = rng.normal(0, by_row, held_out)
    losses = {arm: rng.normal(2, 0.05, (seeds, held_out)) for arm in ("staff", "random")}
    losses["staff"] += of_rows + effect
    return [
        {
            seed: cell(Asked(arm, seed), loss=float(each.mean()), losses=tuple(each.tolist()))
            for seed, each in enumerate(losses[arm])
        }
        for arm in ("staff", "random")
    ]


def test_the_interval_of_a_difference_is_over_seeds_and_held_out_samples():
    ours, theirs = judged(np.random.default_rng(0))
    mean, power = loss_difference(ours, theirs)
    differences = np.array([np.subtract(ours[seed].losses, theirs[seed].losses) for seed in range(4)])
    assert mean.value == pytest.approx(differences.mean())
    assert (mean.low, mean.high) == interval(spread_of(differences))
    over_seeds = mean_over_seeds(differences.mean(axis=1).tolist())
    assert mean.high - mean.low > 2 * (over_seeds.high - over_seeds.low)
    assert (power.held_out, power.detectable) == (40, detectable(spread_of(differences)))


def test_seeds_that_only_one_arm_has_do_not_count():
    ours, theirs = judged(np.random.default_rng(0))
    fewer = {seed: theirs[seed] for seed in (1, 3)}
    assert loss_difference(ours, fewer) == loss_difference({seed: ours[seed] for seed in (1, 3)}, fewer)
    assert loss_difference(ours, {}) == (None, None)
    mean, power = loss_difference(ours, {2: theirs[2]})
    assert mean.seeds == 1 and math.isnan(mean.low) and power is None


def test_what_the_evaluation_could_have_shown_is_said_with_the_seeds_to_add():
    say = partial(power_sentences, seeds=3, seed_seconds=60.0)
    known = "a true difference of 0.051 nats is shown in 80% of evaluations."
    assert say(Power(200, 0.0512, 4)) == [
        f"With 3 seeds and 200 held-out samples, {known}",
        "Add 4 seeds (about 4 min 00 s) to show 0.02 nats.",
    ]
    assert len(say(Power(200, 0.01, 0))) == 1
    assert (
        say(Power(200, 0.3, None))[1] == "More seeds alone cannot show 0.02 nats: add held-out samples too."
    )
    assert "(about" not in power_sentences(Power(200, 0.05, 4), 3, None)[1]


def test_a_report_says_its_power_with_the_time_of_a_seed(tmp_path):
    found = make(tmp_path, answers=0)
    rng = np.random.default_rng(0)
    for asked in cells_of(PLAN, found.evaluation):
        losses = tuple(rng.normal(2, 0.1, 20).tolist())
        write_cell(tmp_path, cell(asked, loss=float(np.mean(losses)), metric=None, losses=losses))
    report = found.report
    assert report.seed_seconds == pytest.approx(4 * 11.5)  # full data, STAFF, random, GraNd
    staff = row(report, "staff")
    assert staff.power.held_out == 20
    (sentence,) = report.sentences
    assert " ".join(power_sentences(staff.power, 3, report.seed_seconds)) in sentence


def test_the_kinds_of_rows_in_a_training_are_means_over_its_seeds(tmp_path):
    found = make(tmp_path)
    shares = {4: 0.1, 5: 0.2, 6: 0.3}
    kinds = {
        Asked("staff", seed, 0.9, None, "epochs").key: {"clean": 1 - share, "swapped": share}
        for seed, share in shares.items()
    }
    facts = found.facts.model_copy(update={"kinds": kinds})
    write_json(tmp_path / FACTS_FILE, facts.model_dump(mode="json"))
    report = Evaluation(tmp_path, PLAN, found.evaluation).report
    assert row(report, "staff").kinds == pytest.approx({"clean": 0.8, "swapped": 0.2})
    assert row(report, "random").kinds == {}
    frame = table_frame(report).set_index("Trained on")
    assert frame.loc["STAFF", "Swapped"] == pytest.approx(0.2)
    assert "Clean" not in frame
