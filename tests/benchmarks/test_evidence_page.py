"""What the page of evidence says of made-up cells, worked out by hand; and that kept cells are put back."""

import pytest
from scipy import stats

from benchmarks.evidence import __main__ as bench_evidence
from benchmarks.evidence import page as evidence_page
from staff_engine.evaluation import planning
from staff_engine.evaluation.cells import FULL, cells_of, read_cell, read_cells
from staff_engine.runs import control
from tests.helpers.made_evaluation import make_evaluation, write_held_out
from tests.helpers.made_run import make_finished_run

LOSSES = {
    "staff": [2.00, 2.11, 2.19],
    "random": [2.10, 2.20, 2.30],  # STAFF is lower by 0.10, 0.09, 0.11: better
    "grand": [2.60, 2.71, 2.79],  # higher by about half a nat: worse
    "el2n": [1.10, 2.30, 3.50],  # lower by 1, then higher by 0.1 and 1.2: even
}
ANSWERS = {
    "staff": [10.0, 11.1, 12.0],
    "random": [20.0, 21.0, 22.0],  # STAFF is lower by about 10: worse
    "grand": [30.0, 31.1, 32.0],  # higher by about 10: better
    "el2n": [11.0, 21.0, 31.0],
}
FULL_LOSS, FULL_ANSWER = 2.05, 15.0


def made(rate=0.2, **changes):
    """An evaluation as the file has it: the arms above at a rate, and the full data."""
    cells = [
        {"arm": arm, "seed": seed, "pruning_rate": rate, "loss": loss, "metric": ANSWERS[arm][seed]}
        for arm, losses in LOSSES.items()
        for seed, loss in enumerate(losses)
    ]
    cells += [
        {"arm": FULL, "seed": seed, "pruning_rate": None, "loss": FULL_LOSS, "metric": FULL_ANSWER}
        for seed in range(3)
    ]
    return {"task": "chat", "family": "llama", "metric": "rouge-l", "cells": cells, **changes}


@pytest.mark.parametrize(
    "arm, figure, said",
    [
        ("staff", "loss", "better"), ("grand", "loss", "worse"), ("el2n", "loss", "even"),
        ("staff", "metric", "worse"), ("grand", "metric", "better"), ("el2n", "metric", "even"),
    ],
)  # fmt: skip
def test_a_lower_loss_and_a_higher_score_of_answers_are_better(arm, figure, said):
    mean = evidence_page.difference(made(), arm, "random", 0.2, figure)
    assert evidence_page.verdict(mean, figure) == said


def test_one_seed_says_nothing():
    found = made()
    found["cells"] = [cell for cell in found["cells"] if cell["seed"] == 0]
    assert (
        evidence_page.verdict(evidence_page.difference(found, "staff", "random", 0.2, "loss"), "loss") == ""
    )
    assert evidence_page.verdict(None, "loss") == ""


def test_a_difference_is_paired_by_seed_with_students_interval():
    found = evidence_page.difference(made(), "staff", "random", 0.2, "loss")
    low, high = stats.ttest_rel(LOSSES["staff"], LOSSES["random"]).confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((-0.1, low, high))


def test_the_best_other_is_the_lowest_loss_and_the_highest_answers():
    found = made()
    assert evidence_page._best(found, 0.2, "loss") == "random"
    assert evidence_page._best(found, 0.2, "metric") == "grand"
    assert evidence_page._best(found, 0.9, "loss") is None


def test_better_even_and_worse_are_counted_over_places_and_rates():
    found = [made(), made(0.9), made(0.5, family="gemma")]
    for arm, counts in (("staff", (3, 0, 0)), ("grand", (0, 0, 3)), ("el2n", (0, 3, 0))):
        means = evidence_page.beside_random(found, arm, "loss")
        assert evidence_page.tally(evidence_page.verdict(mean, "loss") for mean in means) == counts


def test_beside_the_paper_a_gain_is_above_0_and_the_full_data_are_passed_by_what_is_better():
    lines = evidence_page._beside_paper([made()]).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    rows = {first: rest for first, *rest in cells}
    # 2.10 beside random's 2.20; beside GraNd's 31.03 STAFF's answers of 11.03 are 20 points below.
    assert rows["gain over the best baseline, mean"][1:] == ["+0.100 (1)", "-20.0 (1)"]
    assert rows["gain over random, 20% removed"][1:] == ["+0.100 (1)", "-10.0 (1)"]
    assert rows["better than the full data, 20% removed"][1:] == ["0 of 1", "0 of 1"]
    assert rows["worse than random"][1:] == ["0 of 1", "1 of 1"]


def test_cells_of_the_file_are_put_back_where_there_are_none_and_count_as_done(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    source = make_finished_run(tmp_path, 60)
    held_out = write_held_out(tmp_path / "apart.jsonl")
    before = make_evaluation(source, held_out, name="before")
    kept = {
        "made_with": read_cells(before.folder)[0].made_with,
        "cells": [
            cell.model_dump(mode="json", exclude=bench_evidence.LEFT_OUT)
            for cell in read_cells(before.folder)
        ],
    }
    anew = make_evaluation(source, held_out, cells=2, name="anew")
    own = read_cell(anew.folder, cells_of(*planned(anew))[0])
    assert bench_evidence.missing(anew) == len(cells_of(*planned(anew))) - 2 > 0
    bench_evidence.put_back(anew, kept)
    assert bench_evidence.missing(anew) == 0
    assert read_cell(anew.folder, own.asked) == own  # with its losses: what is there is left alone
    last = read_cell(anew.folder, cells_of(*planned(anew))[-1])
    assert (last.loss, last.losses) == (read_cell(before.folder, last.asked).loss, ())


def planned(run):
    record = control.read_record(run)
    return record.plan, record.evaluation


def test_an_evaluation_of_the_benchmark_gets_the_rates_that_it_has_not_got(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    source = make_finished_run(tmp_path, 60)
    monkeypatch.setattr(planning, "held_out_source", lambda *_: ("builtin:chat", "held_out"))
    settings = bench_evidence.QUICK

    def evaluated(*rates):
        return bench_evidence.evaluated("of the benchmark", source, source, rates, settings)

    first = evaluated(0.9)
    assert evaluated(0.9, 0.8) == first
    plan, evaluation = planned(first)
    assert evaluation.pruning_rates == (0.9, 0.8)
    assert {asked.scores for asked in cells_of(plan, evaluation) if asked.arm == "grand"} == {"target"}
    assert list(evaluation.also) == [bench_evidence.TUNED]


def test_a_run_of_another_plan_is_not_measured_under_its_name(tmp_path, monkeypatch):
    from benchmarks.named_runs import finished

    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    source = make_finished_run(tmp_path, 60)
    record = control.read_record(source)
    assert finished(record.name, record.plan) == source
    with pytest.raises(SystemExit, match=f"run {source.id} was made with other strata, seed; delete it"):
        finished(record.name, record.plan.but(strata=record.plan.strata + 1, seed=record.plan.seed + 1))
