"""A similarity run that is killed in stage after stage, as by a power cut, comes to the same report."""

import pytest

from staff_engine.cli import main
from staff_engine.pipelines.similarity.report import open_similarity
from staff_engine.pipelines.similarity.run import stages_of
from staff_engine.runs import control
from tests.helpers.killing import DATA, MODELS, kill_in_each, words

SIMILARITY = {**MODELS, **DATA, "sample": "30", "tune-target": "12"}


@pytest.mark.long
def test_a_killed_similarity_run_goes_on_and_comes_to_the_same_report(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    reports = []
    for killed in (False, True):
        more = ["--detach"] if killed else []
        assert main.main(["similarity", *words(SIMILARITY), *more]) == 0
        run = control.find_run("latest")
        if killed:
            stages = stages_of(open_similarity(run.folder))
            assert kill_in_each(run, stages) > 0.6 * len(stages)
        reports.append(open_similarity(run.folder).report.as_json())
    assert reports[0] == reports[1]
