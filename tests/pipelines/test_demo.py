import os

import pytest

from staff_engine.pipelines import demo
from staff_engine.pipelines.demo import DEMO_PLAN, demo_families, demo_plan, start_demo
from staff_engine.runs import control
from staff_engine.runs.status import Status, save_status
from staff_engine.system.processes import start_time


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Runs that were started, without a process of theirs: this one stands in."""
    monkeypatch.setenv("STAFF_HOME", str(tmp_path))
    begun = []

    def start(run):
        begun.append(run)
        save_status(run.folder, Status(pid=os.getpid(), pid_started=start_time(os.getpid())))

    monkeypatch.setattr(demo, "start", start)
    return begun


def test_the_demo_lets_the_target_verify_at_most_a_fifth():
    assert DEMO_PLAN.strata * DEMO_PLAN.verify_per_stratum <= DEMO_PLAN.limit / 5


def test_a_second_click_finds_the_demo_that_is_at_work(started):
    first = start_demo()
    assert start_demo() == first
    assert started == [first]
    assert len(control.list_runs()) == 1


def test_when_it_has_ended_a_click_starts_another(started):
    first = start_demo()
    save_status(first.folder, Status(state="finished"))
    assert start_demo() != first
    assert len(started) == 2


def test_there_is_a_demo_for_every_task_and_family():
    assert demo_families() == {"Llama": "llama", "Gemma": "gemma", "Mistral": "mistral"}
    plan = demo_plan("kazakh", "gemma")
    assert (plan.dataset, plan.small, plan.target) == (
        "builtin:kazakh", "builtin:gemma-nano", "builtin:gemma-mini",
    )  # fmt: skip
    assert demo_plan("docstrings", "llama") == DEMO_PLAN


def test_another_demo_is_another_run(started):
    first, other = start_demo(), start_demo(demo_plan("chat", "mistral"))
    assert first != other
    assert start_demo(demo_plan("chat", "mistral")) == other
    assert [control.read_record(run).name for run in started] == ["Demo: docstrings", "Demo: chat"]


def test_the_demo_is_recognised_on_every_task_and_family():
    assert demo.is_demo(DEMO_PLAN)
    assert demo.is_demo(demo_plan("kazakh", next(iter(demo_families().values()))))
    assert demo.is_demo(demo_plan("chat", "gemma", faulty=True))
    assert not demo.is_demo(DEMO_PLAN.but(pruning_rate=0.8))
