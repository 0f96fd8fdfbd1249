"""The options that are made from the settings of a plan."""

import pytest

from staff_engine.cli.options import _bounds, _metavar
from staff_engine.plan import Plan


def test_every_setting_of_a_plan_has_a_metavar():
    fields = {name: field.annotation for name, field in Plan.model_fields.items()}
    shown = {name: _metavar(kind) for name, kind in fields.items() if kind is not bool}
    assert (shown["epochs"], shown["pruning_rate"], shown["limit"]) == ("INTEGER", "NUMBER", "INTEGER")
    assert shown["dataset"] == "TEXT" and shown["within"].startswith("random|hardest")


def test_a_setting_of_another_type_is_an_error():
    with pytest.raises(TypeError, match=r"of type <class 'dict'>; allowed: <class 'int'>, <class 'float'>"):
        _metavar(dict)


def test_bounds_are_written_as_people_write_numbers():
    said = {name: _bounds(field.metadata) for name, field in Plan.model_fields.items()}
    assert said["seed"] == "At least 0, below 4,294,967,296."
    assert said["limit"] == "At least 2, at most 1,000,000,000."
    assert said["pruning_rate"] == "At least 0, below 1."
