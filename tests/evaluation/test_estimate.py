"""The time estimate of an evaluation, compared with values computed by hand from a simulated run."""

import json

import pytest

from staff_engine.cli.tables.evaluation import estimate_words
from staff_engine.evaluation.cells import FULL, Asked, cells_of
from staff_engine.evaluation.estimate import CELL_SECONDS, estimate, source_speeds
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.runs.cost import samples_for_selection
from staff_engine.runs.results import open_results
from staff_engine.system.files import write_json
from tests.helpers.damage import without
from tests.helpers.made_cells import cell
from tests.helpers.made_run import make_finished_run

TUNING = 30.0


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    run = make_finished_run(tmp_path, 207)  # 200 samples, scored in 0.01 s each on either model
    write_json(run.folder / "timings.json", {"fine-tune": TUNING, "speculate": 2.0, "verify": 1.0})
    return open_results(run.folder)


def evaluation(**changes):
    settings = {"source": "a", "methods": ("staff", "random", "grand"), "pruning_rates": (0.9, 0.5)}
    return EvaluationPlan.make(**{**settings, "seeds": 2, **changes})


def tokens_of(table):
    return float((table["prompt_tokens"] + table["response_tokens"]).sum())


def test_the_target_fine_tunes_as_much_slower_as_it_scores(source):
    tokens = tokens_of(source.scores)
    target = 0.01 * len(source.verification) / tokens_of(source.verification)
    small = 0.01 * 200 / tokens
    speeds = source_speeds(evaluation(), source)
    assert speeds.score_token == pytest.approx(target)
    assert speeds.train_token == pytest.approx(TUNING / (3 * tokens) * target / small)
    prompt = source.scores["prompt_tokens"].mean()
    expected = target * (200 * tokens / 200 / 3 + 100 * (prompt / 3 + 64))
    assert speeds.evaluate == pytest.approx(expected)


def test_every_cell_counts_by_what_it_trains_on(source):
    found = estimate(source.plan, evaluation(), source)
    speeds = source_speeds(evaluation(), source)
    assert found.cells == 1 + 2 * (1 + 3 * 2)
    passes = 2 * (1 + 3 * (0.1 + 0.5))
    whole = 3 * tokens_of(source.scores) * speeds.train_token
    assert found.training == pytest.approx(passes * whole + CELL_SECONDS * found.cells)
    assert found.evaluating == pytest.approx(found.cells * speeds.evaluate)
    assert found.scoring == 0
    assert found.seconds == found.training + found.evaluating


def test_random_at_equal_time_trains_on_more(source):
    plan = evaluation(methods=("random", "random-time"), pruning_rates=(0.9,), seeds=1)
    extra = samples_for_selection(source, pruning_rate=0.9)
    assert extra > 180  # so it trains on all 200
    found = estimate(source.plan, plan, source)
    whole = 3 * tokens_of(source.scores) * source_speeds(plan, source).train_token
    assert found.training == pytest.approx((1 + 0.1 + 1) * whole + CELL_SECONDS * found.cells)


def test_with_equal_steps_every_coreset_takes_as_long_as_the_full_data(source):
    found = estimate(source.plan, evaluation(budget="steps"), source)
    whole = 3 * tokens_of(source.scores) * source_speeds(evaluation(), source).train_token
    assert found.training == pytest.approx(2 * 7 * whole + CELL_SECONDS * found.cells)


def test_scores_of_the_target_are_counted_where_a_method_reads_them(source):
    speeds, tokens = source_speeds(evaluation(), source), tokens_of(source.scores)
    found = estimate(source.plan, evaluation(baseline_scores="target"), source)
    assert found.scoring == pytest.approx(tokens * (3 * speeds.train_token + speeds.score_token))
    few = evaluation(baseline_scores="target", methods=("staff", "random"))
    assert estimate(source.plan, few, source).scoring == 0


def test_what_is_there_is_not_counted_and_its_times_are_reckoned_with(source):
    plan = evaluation()
    done = [cell(Asked(FULL, 0), loss=1.0, train=CELL_SECONDS + 9.0)]  # 3 steps
    found = estimate(source.plan, plan, source, done)
    assert found.cells == len(cells_of(source.plan, plan)) - 1
    assert found.evaluating == pytest.approx(found.cells * 1.0)
    a_step = 9.0 / 3
    passes = 1 + 2 * 3 * (0.1 + 0.5)
    steps = passes * 3 * 200 / source.plan.batch_size
    assert found.training == pytest.approx(steps * a_step + CELL_SECONDS * found.cells)
    assert "1 finished cells" in estimate_words(found)


def test_all_that_is_there_takes_nothing(source):
    plan = evaluation(methods=("random",), seeds=1)
    done = [cell(asked, loss=1.0) for asked in cells_of(source.plan, plan)]
    assert estimate_words(estimate(source.plan, plan, source, done)) == "all cells already exist"


def test_a_run_without_verified_samples_gives_no_estimate(source):
    run = source.folder
    without(run, "verification")
    assert json.loads((run / "timings.json").read_text())["fine-tune"] == TUNING
    found = estimate(source.plan, evaluation(), open_results(run))
    assert found is None
    assert "no time estimate" in estimate_words(found)
