"""Forecasts: what measured batches say of a run, the process that measures them, and the run's end."""

import json
import os
import sys
import time

import numpy as np
import pytest

from staff_engine.cli.main import main
from staff_engine.errors import DatasetError, ModelError, RunError
from staff_engine.models import finetune
from staff_engine.models.finetune import training_order
from staff_engine.pipelines import coreset as pipeline
from staff_engine.pipelines.forecast import job, measuring
from staff_engine.pipelines.forecast.extrapolation import (
    Forecast,
    extrapolate,
)
from staff_engine.pipelines.forecast.measuring import measure
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run
from staff_engine.system import background
from staff_engine.system.files import read_checked, write_json
from staff_engine.system.memory import peak_memory
from staff_engine.system.processes import start_time
from tests.helpers.made_measured import make_measured
from tests.helpers.tiny_run import ROWS, make_sources


@pytest.fixture(autouse=True)
def staff_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return make_sources(tmp_path_factory.mktemp("sources"))


def make_plan(sources, **changes):
    settings = {
        **sources, "epochs": 2, "strata": 6, "verify_per_stratum": 2, "pruning_rate": 0.8, "device": "cpu",
        "tokens_per_batch": 256, "learning_rate": 1e-2,
    }  # fmt: skip
    return Plan.make(**{**settings, **changes})


PLAN = Plan.make(dataset="data.jsonl", small="small", target="target", strata=20, verify_per_stratum=5)


# --- measuring


def test_a_tiny_plan_is_measured_and_forecast(sources):
    plan = make_plan(sources)
    said = []
    measured = measure(plan, seconds=0.5, say=said.append)
    assert measured.rows == ROWS
    assert np.count_nonzero(measured.small.lengths) == ROWS - 2
    assert set(measured.scored) <= set(np.flatnonzero(measured.small.lengths))
    assert len(measured.scored) == len(measured.efforts) > 0
    assert min(measured.efforts) > 0
    assert measured.memory_bytes > 10**8
    assert said[0] == "loading the libraries" and said[-1] == "scoring a few batches on the target"
    result = extrapolate(plan, measured)
    assert result.samples == ROWS - 2
    assert all(seconds > 0 for seconds in result.stages.values())


def test_the_tuning_of_the_target_is_measured_where_the_plan_has_it(sources):
    said = []
    plan = make_plan(sources, tune_target=10)
    measured = measure(plan, seconds=0.5, say=said.append)
    assert said[-2:] == ["fine-tuning the target for a few steps", "scoring a few batches on the target"]
    assert measured.tuning.start >= 0 and measured.tuning.checkpoint > 0
    # By sample, token or pair: which of them explains a few tiny steps best is the clock's to say.
    assert measured.tuning.step.seconds(np.array([[plan.batch_size, 16]])) > 0
    assert extrapolate(plan, measured).stages["tune target"] > 0
    untouched = measure(plan.but(tune_target=0), seconds=0.5)
    assert untouched.tuning is None


def test_responses_without_prompts_are_measured_where_the_plan_scores_them(sources):
    plan = make_plan(sources, score="ifd")
    measured = measure(plan, seconds=0.5)
    for side in (measured.small, measured.target):
        assert side.alone is not None and side.alone.seconds(np.array([[4, 10]])) > 0
        pairs = list(zip(side.responses, side.lengths, strict=True))
        assert all(response <= length for response, length in pairs) and max(side.responses) > 1
    assert {"speculate without prompt", "verify without prompt"} <= set(extrapolate(plan, measured).stages)
    assert measure(plan.but(score="effort"), seconds=0.5).small.alone is None


def test_little_time_measures_a_batch_of_each_stage_all_the_same(sources):
    measured = measure(make_plan(sources), seconds=1e-9)
    for speed in (measured.finetuning.step, measured.small.scoring, measured.target.scoring):
        assert speed.token > 0
    assert measured.efforts


def test_the_steps_that_are_timed_are_those_of_a_run_the_longest_first(sources, monkeypatch):
    seen = {}

    def watched(model, samples, lengths, folder, **settings):
        order = training_order(
            lengths, epochs=settings["epochs"], batch_size=settings["batch_size"], seed=settings["seed"]
        )
        size = settings["batch_size"]
        seen["batches"] = [
            sorted(len(samples[place].input_ids) for place in order[start : start + size])
            for start in range(0, len(order), size)
        ]
        return finetune.finetune(model, samples, lengths, folder, **settings)

    monkeypatch.setattr(measuring, "finetune", watched)
    plan = make_plan(sources, batch_size=4)
    measured = measure(plan, seconds=1e-9)
    lengths = np.array([length for length in measured.small.lengths if length])
    order = training_order(lengths, epochs=1, batch_size=4, seed=plan.seed)
    real = [sorted(lengths[order[start : start + 4]].tolist()) for start in range(0, 56, 4)]
    assert all(batch in real for batch in seen["batches"])
    assert {tuple(batch) for batch in seen["batches"]} == set(map(tuple, real))
    assert max(seen["batches"][0]) == lengths.max()


def test_measuring_leaves_nothing_behind(sources, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    measure(make_plan(sources, limit=20), seconds=1e-9)
    assert list(tmp_path.iterdir()) == []


def test_data_without_two_samples_is_refused(sources, tmp_path):
    rows = [{"prompt": "a", "completion": completion} for completion in ("b", "", "")]
    (tmp_path / "one.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DatasetError, match="has 1 scorable samples in its first 3 rows"):
        measure(make_plan(sources, dataset=str(tmp_path / "one.jsonl")))


def test_the_peak_memory_of_this_process_is_no_less_than_what_it_holds():
    import psutil

    assert peak_memory() >= psutil.Process().memory_info().rss * 0.9


# --- the file of a forecast, and its process


@pytest.fixture
def measuring_is_quick(monkeypatch):
    monkeypatch.setattr(job, "measure", lambda plan, *, seconds, say: say("looking") or make_measured())


def use_process(monkeypatch, code):
    monkeypatch.setattr(job, "COMMAND", (sys.executable, "-c", code))


def wait_for(key, *states):
    deadline = time.monotonic() + 60
    while (found := job.read_forecast(key)) is None or found.state not in states:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_a_made_forecast_is_found_again(measuring_is_quick):
    made = job.make_forecast(PLAN)
    key = job.key_of(PLAN)
    assert job.read_forecast(key) == made
    assert made.state == "done"


def test_other_epochs_and_selection_settings_need_no_new_measurement(measuring_is_quick):
    job.make_forecast(PLAN)
    other = PLAN.but(epochs=6, strata=5, seed=3, pruning_rate=0.5)
    key = job.key_of(other)
    assert key == job.key_of(PLAN)
    before, after = job.read_forecast(key), job.read_forecast(key, other)
    assert after.stages["fine-tune"] > 1.5 * before.stages["fine-tune"]
    assert after.verified_at_most == 25


@pytest.mark.parametrize(
    "changes",
    [{"small": "other"}, {"target": "other"}, {"limit": 10}, {"batch_size": 4}, {"tokens_per_batch": 64},
     {"max_length": 64}, {"dtype": "float32"}, {"lora_rank": 4}, {"scored_parameters": "last_block"}],
)  # fmt: skip
def test_what_changes_the_work_changes_the_key(changes):
    assert job.key_of(PLAN.but(**changes)) != job.key_of(PLAN)


def test_whether_the_target_is_tuned_changes_the_key_and_on_how_many_samples_does_not():
    keys = [job.key_of(PLAN.but(tune_target=count)) for count in (0, 10, 60)]
    assert keys[0] != keys[1] == keys[2]


def test_whether_responses_are_scored_without_prompts_changes_the_key():
    plain, asked, implied = (job.key_of(PLAN.but(**how)) for how in ({}, {"ifd": True}, {"score": "ifd"}))
    assert plain != asked == implied
    rounds = {"adaptive": True, "near_duplicates": 0.8, "drop_by": "loss"}
    assert job.key_of(PLAN.but(**rounds)) == plain


def test_a_file_that_was_changed_has_another_key(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("a")
    plan = PLAN.but(dataset=str(path))
    before = job.key_of(plan)
    assert job.key_of(plan) == before
    path.write_text("ab")
    assert job.key_of(plan) != before


def test_a_relative_path_has_the_key_of_its_absolute_one(tmp_path, monkeypatch):
    (tmp_path / "data.jsonl").write_text("a")
    monkeypatch.chdir(tmp_path)
    assert job.key_of(PLAN) == job.key_of(PLAN.but(dataset=str(tmp_path / "data.jsonl")))


def test_there_is_no_forecast_of_what_was_never_asked():
    assert job.read_forecast("0" * 24) is None


def test_a_failure_is_raised_and_kept(monkeypatch):
    def fails(plan, *, seconds, say):
        raise ModelError("model 'small'\nis not there")

    monkeypatch.setattr(job, "measure", fails)
    with pytest.raises(ModelError):
        job.make_forecast(PLAN)
    found = job.read_forecast(job.key_of(PLAN))
    assert (found.state, found.message) == ("failed", "model 'small' is not there")


def test_the_process_says_what_it_does_and_then_what_it_found(sources):
    plan = make_plan(sources)
    key = job.start_forecast(plan)
    first = job.read_forecast(key)
    assert first.state == "measuring" and first.message
    assert job.start_forecast(plan) == key
    found = wait_for(key, "done", "failed")
    assert found.state == "done", found.message
    assert found.samples == ROWS - 2
    written = job.JOBS.folder(key) / "measurement.json"
    before = written.stat().st_mtime_ns
    assert job.start_forecast(plan) == key
    assert written.stat().st_mtime_ns == before


def test_a_process_that_dies_reads_as_failed_and_is_started_again_only_on_request(monkeypatch):
    use_process(monkeypatch, "import sys; sys.exit('out of luck')")
    key = job.start_forecast(PLAN)
    found = wait_for(key, "failed")
    assert found.message == "the process ended before the job was done: out of luck"
    use_process(monkeypatch, "import time; time.sleep(60)")
    job.start_forecast(PLAN)
    assert job.read_forecast(key).state == "failed"
    job.start_forecast(PLAN, again=True)
    assert job.read_forecast(key).state == "measuring"
    job.stop_forecast(key)
    assert job.read_forecast(key) is None


def test_stopping_what_is_done_keeps_it(measuring_is_quick):
    made = job.make_forecast(PLAN)
    job.stop_forecast(job.key_of(PLAN))
    assert job.read_forecast(job.key_of(PLAN)) == made


def test_a_process_that_cannot_be_started_is_a_sentence(monkeypatch):
    monkeypatch.setattr(job, "COMMAND", ("/nowhere/python",))
    with pytest.raises(RunError, match="the forecast cannot be started"):
        job.start_forecast(PLAN)


def test_a_damaged_file_is_none_at_all(staff_home):
    key = job.key_of(PLAN)
    (staff_home / "forecasts" / key).mkdir(parents=True)
    (staff_home / "forecasts" / key / "measurement.json").write_text("{")
    assert job.read_forecast(key) is None


def test_only_the_newest_are_kept(staff_home, monkeypatch, measuring_is_quick):
    monkeypatch.setattr(job, "KEPT", 3)
    plans = [PLAN.but(batch_size=size) for size in range(1, 6)]
    keys = [job.key_of(plan) for plan in plans]
    for age, (plan, key) in enumerate(zip(plans, keys, strict=True)):
        job.make_forecast(plan)
        os.utime(staff_home / "forecasts" / key, (1000 + age, 1000 + age))
    job.make_forecast(PLAN)
    kept = [job.read_forecast(key) is not None for key in [*keys, job.key_of(PLAN)]]
    assert kept == [False, False, False, True, True, True]


def test_one_at_work_is_not_pruned(staff_home, monkeypatch, measuring_is_quick):
    monkeypatch.setattr(job, "KEPT", 0)
    at_work = job.Measurement(plan=PLAN, pid=os.getpid(), pid_started=start_time(os.getpid()))
    background.make_folder(job.JOBS, "old", kept=0)
    background.save(job.JOBS, "old", at_work)
    job.make_forecast(PLAN)
    job.make_forecast(PLAN.but(batch_size=1))
    assert job.read_forecast("old").state == "measuring"
    assert job.read_forecast(job.key_of(PLAN)) is None


def test_reading_a_forecast_loads_no_torch():
    import subprocess

    code = "import sys; from staff_engine.pipelines.forecast.job import *; read_forecast('a')"
    code += "; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "peft", "datasets", "accelerate"} & set(loaded.stdout.split())


# --- the command


def test_the_command_prints_a_table(measuring_is_quick, capsys):
    assert main(["forecast", "--dataset", "data.jsonl", "--small", "small", "--target", "target"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {line[:35].strip(): line[35:].strip() for line in lines if line.strip()}
    assert table["samples"] == "1,000"
    assert table["tokens"] == "25,000"
    assert table["memory"] == "1.0 GB"
    assert {"time of fine-tune", "time of verify", "total time"} <= set(table)


def test_the_command_prints_json(measuring_is_quick, capsys):
    settings = ["--dataset", "data.jsonl", "--small", "small", "--target", "target", "--strata", "4"]
    assert main(["forecast", *settings, "--json"]) == 0
    said = Forecast.model_validate_json(capsys.readouterr().out)
    assert said.verified_at_most == 40


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "none.jsonl", "--small", "builtin:llama-nano", "--target", "builtin:llama-nano"],
         "data file 'none.jsonl' does not exist"),
        (["--dataset", "builtin:docstrings", "--small", "builtin:none", "--target", "builtin:llama-nano"],
         "unknown built-in model 'builtin:none'"),
        (["--dataset", "builtin:docstrings", "--small", "builtin:llama-nano"], "target is missing"),
        (["--dataset", "a", "--small", "b", "--target", "c", "--epochs", "0"], "epochs is '0'"),
    ],
)  # fmt: skip
def test_the_command_says_what_is_wrong_in_one_line(arguments, said, capsys):
    assert main(["forecast", *arguments]) == 2
    assert said in capsys.readouterr().err


# --- the finished run


class Silent:
    cancelled = False

    def stage(self, stage, total=0, done=0): ...
    def advance(self, count=1): ...
    def message(self, text): ...


def test_a_run_carries_its_forecast_and_its_end_says_how_far_that_was_off(sources):
    plan = make_plan(sources)
    run = create_run(plan)
    assert not job.keep_forecast(run)
    assert job.forecast_error(run.folder) is None
    made = job.make_forecast(plan, seconds=0.5)
    assert job.keep_forecast(run)
    assert Forecast.model_validate_json((run.folder / "forecast.json").read_bytes()) == made
    pipeline.execute(run.folder, Silent())
    timings = {stage: 2 * seconds for stage, seconds in made.stages.items()}
    write_json(run.folder / "timings.json", {**timings, "select": 0.1})
    off = job.forecast_error(run.folder)
    assert off == read_checked(run.folder / "forecast_error.json")
    for stage, seconds in made.stages.items():
        assert off[stage] == {
            "forecast": seconds, "found": pytest.approx(2 * seconds), "error": pytest.approx(-0.5)
        }  # fmt: skip
    assert off["total_seconds"]["error"] == pytest.approx(-0.5)
    assert off["verified"]["found"] == json.loads((run.folder / "summary.json").read_bytes())["verified"]
    assert off["memory_bytes"]["error"] == pytest.approx(0, abs=0.5)
    assert {"full_target_seconds"} <= set(off)


def test_a_forecast_that_failed_is_not_carried(monkeypatch):
    def fails(plan, *, seconds, say):
        raise DatasetError("no")

    monkeypatch.setattr(job, "measure", fails)
    with pytest.raises(DatasetError):
        job.make_forecast(PLAN)
    assert not job.keep_forecast(create_run(PLAN))
