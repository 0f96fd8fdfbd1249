"""Runs that are killed in stage after stage, as by a power cut, end with the same results."""

import pytest

from staff_engine.cli import main
from staff_engine.evaluation.report import open_evaluation
from staff_engine.evaluation.run import stages_of as stages_of_evaluation
from staff_engine.pipelines.coreset import stages_of
from staff_engine.runs import control
from staff_engine.runs.results import open_results
from tests.helpers.killing import DATA, MODELS, kill_in_each, words

pytestmark = pytest.mark.long

CORESET = {
    **MODELS, **DATA, "strata": "6", "verify-per-stratum": "2", "pruning-rate": "0.8", "tune-target": "12",
    "checkpoints": "3", "ifd": None,
}  # fmt: skip
EVALUATION = {
    "evaluate": None, "method": "random", "baseline-scores": "target", "held-out-samples": "5",
    "answers": "2", "answer-tokens": "4", "seeds": "1",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("kills")
        patch.setenv("STAFF_HOME", str(folder / "home"))
        yield folder


@pytest.fixture(scope="module")
def whole(home):
    """A coreset run that nobody disturbs."""
    assert main.main(["run", *words(CORESET), "--out", str(home / "whole.jsonl")]) == 0
    return control.find_run("latest")


def test_a_killed_coreset_run_goes_on_and_writes_the_same_files(home, whole):
    out = home / "killed.jsonl"
    assert main.main(["run", *words(CORESET), "--out", str(out), "--detach"]) == 0
    run = control.find_run("latest")
    stages = stages_of(control.read_record(run).plan)
    assert kill_in_each(run, stages) > 0.6 * len(stages)
    assert out.read_bytes() == (home / "whole.jsonl").read_bytes()
    first, second = open_results(whole.folder), open_results(run.folder)
    for part in ("speculative", "verification"):
        left, right = (each.read(part).drop_columns("seconds").sort_by("row_id") for each in (first, second))
        assert left.equals(right)
    assert (first.trajectories == second.trajectories).all()


def test_a_killed_evaluation_goes_on_and_comes_to_the_same_losses(home, whole):
    found = []
    for killed in (False, True):
        more = ["--method", "ccs", *(["--detach"] if killed else [])]
        assert main.main(["compare", whole.id, *words(EVALUATION), *more]) == 0
        run = control.find_run("latest")
        if killed:
            stages = stages_of_evaluation(open_evaluation(run.folder))
            assert kill_in_each(run, stages) > 0.6 * len(stages)
        cells = open_evaluation(run.folder).cells
        found.append({cell.asked.key: (cell.rows_sha256, cell.losses, cell.answers) for cell in cells})
    assert found[0] == found[1] and len(found[0]) == 4
