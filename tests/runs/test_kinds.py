"""The registry of kinds of run: what each is for, and that each is served everywhere."""

import json

import pytest

from staff_engine.cli import reports, work
from staff_engine.errors import RunError
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.folders import create_run, read_record
from staff_engine.runs.kinds import KINDS, Kind
from staff_engine.runs.stages import stage_of
from staff_engine.similarity_plan import SimilarityPlan

PLAN = Plan.make(dataset="builtin:docstrings", small="builtin:llama-nano", target="builtin:llama-mini")
ASKED = {
    Kind.CORESET: {},
    Kind.SIMILARITY: {"similarity": SimilarityPlan.make(smalls=("a",), targets=("b",))},
    Kind.EVALUATION: {
        "evaluation": EvaluationPlan.make(source="a", methods=("staff",), pruning_rates=(0.5,))
    },
}


@pytest.fixture(autouse=True)
def staff_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))


@pytest.fixture(params=Kind)
def kind(request):
    return request.param


def test_a_run_is_of_the_kind_that_its_plan_asks_for(kind):
    run = create_run(PLAN, **ASKED[kind])
    assert read_record(run).kind is kind
    assert control.kind_of(run) is kind


def test_every_kind_says_what_it_does_and_has_stages_work_and_a_report(kind):
    assert KINDS[kind].does and KINDS[kind].needs
    if kind is not Kind.SIMILARITY:  # some of its stages are named with a model
        assert all(stage_of(stage.name) == stage for stage in KINDS[kind].stages)
    assert kind in work.WORK
    assert kind in reports.REPORTS


@pytest.mark.parametrize(
    ("kind", "does"), [(Kind.SIMILARITY, "compares models"), (Kind.EVALUATION, "evaluates coresets")]
)
def test_a_run_of_another_kind_has_no_coreset(kind, does):
    run = create_run(PLAN, **ASKED[kind])
    with pytest.raises(RunError, match=rf"{run.id} {does}.*; it has no coreset"):
        control.require_scores(run)


def test_the_process_of_a_run_does_what_its_kind_asks(kind, monkeypatch):
    done = []
    monkeypatch.setattr(work, "WORK", {each: lambda run, _, each=each: done.append(each) for each in Kind})
    work.do(create_run(PLAN, **ASKED[kind]), None)
    assert done == [kind]


def test_a_kind_without_work_or_report_is_an_error(kind, monkeypatch):
    run = create_run(PLAN, **ASKED[kind])
    monkeypatch.setattr(work, "WORK", {})
    monkeypatch.setattr(reports, "REPORTS", {})
    for ask in (lambda: work.do(run, None), lambda: reports.report_of(run)):
        with pytest.raises(RunError, match=rf"{run.id} has the unknown kind '{kind}'; allowed: "):
            ask()


def test_a_damaged_run_has_no_kind_no_report_and_its_work_says_why(kind):
    run = create_run(PLAN, **ASKED[kind])
    (run.folder / "plan.json").write_text(json.dumps({"plan": 1}))
    assert control.kind_of(run) is None
    assert reports.report_of(run) is None
    with pytest.raises(RunError, match=r"plan\.json is damaged"):
        work.do(run, None)
