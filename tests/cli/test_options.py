"""The options that are made from the settings of a plan."""

import pytest

from staff_engine.cli.options import _metavar
from staff_engine.plan import Plan


def test_every_setting_of_a_plan_has_a_metavar():
    fields = {name: field.annotation for name, field in Plan.model_fields.items()}
    shown = {name: _metavar(kind) for name, kind in fields.items() if kind is not bool}
    assert (shown["epochs"], shown["pruning_rate"], shown["limit"]) == ("INTEGER", "NUMBER", "INTEGER")
    assert shown["dataset"] == "TEXT" and shown["within"].startswith("random|hardest")


def test_a_setting_of_another_type_is_an_error():
    with pytest.raises(TypeError, match=r"of type <class 'dict'>; allowed: <class 'int'>, <class 'float'>"):
        _metavar(dict)
