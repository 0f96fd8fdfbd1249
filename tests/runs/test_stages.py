"""The registry of stages: every stage once, by the name that a run's files have."""

import pytest

from staff_engine.errors import RunError
from staff_engine.runs import stages
from staff_engine.runs.stages import stage_of


def test_every_stage_is_found_by_its_name():
    every = {*stages.CORESET, *stages.SIMILARITY, *stages.EVALUATION} - set(stages.OF_EACH_MODEL)
    assert len(every) == 21
    assert all(stage_of(stage.name) == stage for stage in every)


def test_the_names_in_the_files_of_earlier_runs_are_known():
    names = ["import", "tokenize", "fine-tune", "speculate", "tune target", "verify", "select", "export"]
    since = [
        "libraries", "number format", "check", "speculate without prompt", "trajectories",
        "verify without prompt", "take scores", "train again",
    ]  # fmt: skip
    assert [stage.name for stage in stages.CORESET if stage.name not in since] == names
    for name in ("compare", "import held-out", "fine-tune target", "score on target", "evaluate"):
        assert stage_of(name).name == name


def test_a_stage_of_one_model_keeps_its_name_label_and_unit():
    scoring = stages.SCORE_MODEL.of("llama-nano, untouched")
    assert stage_of("score llama-nano, untouched") == scoring
    assert (scoring.label, scoring.unit) == ("Score llama-nano, untouched", "samples")
    assert stage_of("fine-tune llama-nano").label == "Fine-tune llama-nano"
    assert stage_of("fine-tune").label == "Fine-tune the small model"


@pytest.mark.parametrize("name", ["", "verifying", "Import", "score", "tokenize all"])
def test_an_unknown_stage_is_an_error_that_names_those_there_are(name):
    with pytest.raises(RunError, match=rf"unknown stage '{name}'; allowed: libraries, import, tokenize, .*"):
        stage_of(name)


def test_what_staff_costs_is_a_part_of_its_run_in_order():
    order = [stage for stage in stages.CORESET if stage in stages.STAFF]
    assert tuple(order) == stages.STAFF
    assert stages.STAFF[:2] == stages.SMALL_SCORES
