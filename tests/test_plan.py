"""Presets of selection settings."""

import inspect

import pytest

from staff_engine import draw_verification, select_coreset
from staff_engine.errors import PlanError
from staff_engine.plan import SELECTION_FIELDS, Plan
from staff_engine.presets import PRESETS, preset_of, with_preset

NEEDED = {"dataset": "d", "small": "s", "target": "t"}


def test_the_defaults_of_a_plan_are_the_papers_preset():
    assert preset_of(Plan.make(**NEEDED).model_dump()) == "paper"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_its_settings_and_is_recognised(name):
    plan = Plan.make(**NEEDED, preset=name)
    assert preset_of(plan.model_dump()) == name
    assert set(PRESETS[name].settings) < set(SELECTION_FIELDS)
    assert {"pruning_rate", "seed"} == set(SELECTION_FIELDS) - set(PRESETS[name].settings)


def test_what_is_given_beside_a_preset_wins_and_makes_it_another():
    plan = Plan.make(**NEEDED, preset="studio", strata=7)
    assert (plan.strata, plan.drop_by, preset_of(plan.model_dump())) == (7, "ifd", None)
    assert plan.but(preset="paper").strata == 50


def test_without_a_preset_nothing_changes():
    assert with_preset({"strata": 3}) == {"strata": 3}


def test_an_unknown_preset_is_refused_with_those_that_are_known():
    with pytest.raises(PlanError, match="preset is 'best'; allowed: paper, released, studio"):
        Plan.make(**NEEDED, preset="best")


def test_the_array_functions_have_the_same_defaults_as_the_plan():
    for function in (select_coreset, draw_verification):
        parameters = inspect.signature(function).parameters
        shared = {"strata": "num_strata", **{name: name for name in SELECTION_FIELDS if name != "strata"}}
        compared = [
            (parameters[name].default, Plan.model_fields[field].default)
            for field, name in shared.items()
            if name in parameters and parameters[name].default not in (inspect.Parameter.empty, None)
        ]
        assert len(compared) >= 4 and all(mine == plan for mine, plan in compared)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"processes": 2, "device_map": "auto"}, "device_map is 'auto', which is for one process"),
        ({"processes": 2, "device": "cuda:1"}, "device is 'cuda:1', but processes is 2"),
        ({"shard_target": True}, "shard_target needs several processes"),
        ({"processes": 2, "shard_target": True, "quantize": "4bit"}, "shard_target is for whole weights"),
    ],
)
def test_settings_of_several_processes_that_exclude_each_other_are_refused(settings, words):
    with pytest.raises(PlanError, match=words):
        Plan.make(dataset="d", small="s", target="t", **settings)
