import numpy as np
import pytest

from staff_engine.runs.cost import Cost, Price, price, run_cost, token_share
from staff_engine.runs.results import open_results
from staff_engine.runs.summary import Summary
from tests.helpers.made_run import make_finished_run

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


@pytest.mark.parametrize(
    ("selection", "coreset", "everything", "count"),
    [
        (10.0, 5.0, 20.0, 1),  # 10 + 5 < 20
        (15.0, 5.0, 20.0, 2),  # 15 + 5 = 20 saves nothing
        (40.0, 5.0, 20.0, 3),
        (40.0, 20.0, 20.0, None),
        (40.0, None, None, None),
    ],
)
def test_a_selection_pays_off_from_the_first_number_of_fine_tunings_that_saves_time(
    selection, coreset, everything, count
):
    found = Price(selection, coreset, everything)
    assert found.pays_from == count
    if coreset is not None:
        saves = [n for n in range(1, 9) if selection + n * coreset < n * everything]
        assert (saves[0] if saves else None) == count


def test_fine_tuning_on_the_coreset_takes_its_share_of_the_tokens():
    found = price(run_cost(SUMMARY, TIMINGS), 0.25)
    assert (found.selection, found.coreset, found.everything) == (40.0, 60.0, 240.0)
    assert "about 60 s" in found.sentence.replace("1 min 00 s", "60 s")
    assert "pays off from the first fine-tuning on" in found.sentence
    assert "A random coreset takes as long to train on and costs nothing" in found.sentence
    assert found.line == (
        "Selection took 40 s; it pays off from the first fine-tuning on (each about 1 min 00 s on the"
        " coreset, 4 min 00 s on everything)."
    )


def test_without_target_scores_the_price_says_what_it_does_not_know():
    cost = run_cost(SUMMARY.model_copy(update={"full_target_seconds_estimate": None}), TIMINGS)
    sentence = price(cost, 0.25).sentence
    assert "unknown, because it scored no sample" in sentence and "costs nothing" in sentence
    assert Price(40.0, 30.0, 20.0).pays == "never pays off"


def test_the_share_of_tokens_counts_prompts_and_responses(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    results = open_results(make_finished_run(tmp_path).folder)
    scores = results.scores.set_index("row_id")
    tokens = scores["prompt_tokens"] + scores["response_tokens"]
    rows = np.array([3, 5, 90])
    assert token_share(results, rows) == pytest.approx(tokens[rows].sum() / tokens.sum())
    assert token_share(results, tokens.index.to_numpy()) == pytest.approx(1)
    chosen = results.select().indices
    assert results.summary.token_share == pytest.approx(tokens[chosen].sum() / tokens.sum())
