"""A run of each kind is killed in stage after stage, as a power cut would, and ends with the same results."""

import random
import time

import psutil
import pytest

from staff_engine.cli import main
from staff_engine.evaluation.report import open_evaluation
from staff_engine.evaluation.run import stages_of as stages_of_evaluation
from staff_engine.pipelines.coreset import stages_of
from staff_engine.pipelines.similarity.report import open_similarity
from staff_engine.pipelines.similarity.run import stages_of as stages_of_similarity
from staff_engine.runs import control
from staff_engine.runs.results import open_results

pytestmark = pytest.mark.long

SEED = 0
MODELS = {"small": "builtin:llama-nano", "target": "builtin:llama-mini"}
DATA = {"dataset": "builtin:docstrings", "limit": "60", "epochs": "1", "dtype": "float32", "batch-size": "2"}
CORESET = {
    **MODELS, **DATA, "strata": "6", "verify-per-stratum": "2", "pruning-rate": "0.8", "tune-target": "12",
    "checkpoints": "3", "ifd": None,
}  # fmt: skip
SIMILARITY = {**MODELS, **DATA, "sample": "30", "tune-target": "12"}
EVALUATION = {
    "evaluate": None, "method": "random", "baseline-scores": "target", "held-out-samples": "5",
    "answers": "2", "answer-tokens": "4", "seeds": "1",
}  # fmt: skip


def words(options):
    return [word for name, value in options.items() for word in (f"--{name}", value) if word is not None]


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


def test_a_killed_similarity_run_goes_on_and_comes_to_the_same_report(home):
    reports = []
    for killed in (False, True):
        more = ["--detach"] if killed else []
        assert main.main(["similarity", *words(SIMILARITY), *more]) == 0
        run = control.find_run("latest")
        if killed:
            stages = stages_of_similarity(open_similarity(run.folder))
            assert kill_in_each(run, stages) > 0.6 * len(stages)
        reports.append(open_similarity(run.folder).report.as_json())
    assert reports[0] == reports[1]


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


def kill_in_each(run, stages):
    """Kill the process of a run once in each stage, at a point that the seed decides, and resume it.

    Returns the number of kills; a stage can be over before it is noticed.
    """
    draw = random.Random(SEED)
    kills = 0
    for place, stage in enumerate(stages):
        if wait_for(run, stages[place:], draw.random()) == "finished":
            break
        process = psutil.Process(control.read_status(run).pid)
        process.kill()
        psutil.wait_procs([process], timeout=10)
        state = control.read_status(run).state
        if state == "finished":
            break
        assert state == "interrupted", stage
        kills += 1
        control.resume(run)
    assert wait_for(run, (), 1.0) == "finished"
    return kills


def wait_for(run, stages, share):
    """Wait until a run is this far in the first of the stages, in a later one, or at its end."""
    deadline = time.monotonic() + 120
    while True:
        status = control.read_status(run)
        assert status.state in ("queued", "running", "finished") and time.monotonic() < deadline, status
        if status.state == "finished" or status.stage in stages[1:]:
            return status.state
        far = status.done >= share * (status.total or 0)
        if stages and status.stage == stages[0] and status.state == "running" and far:
            return status.state
        time.sleep(0.005)
