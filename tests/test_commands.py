import shlex

import typer

from staff_engine.cli import app
from staff_engine.commands import run_command
from staff_engine.plan import Plan

COMMAND = typer.main.get_command(app).commands["run"]


def read_back(command):
    """The options of a command line, as a shell and the program would read them."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:4] == ["python", "-m", "staff_engine", "run"]
    return COMMAND.make_context("run", words[4:]).params


def test_what_is_as_by_default_is_not_said():
    plan = Plan.make(dataset="rows.jsonl", small="a/b", target="a/c")
    assert shlex.split(run_command(plan).replace("\\\n", " "))[4:] == [
        "--dataset", "rows.jsonl", "--small", "a/b", "--target", "a/c",
    ]  # fmt: skip


def test_the_command_makes_the_same_plan_again_also_with_spaces_and_quotes():
    plan = Plan.make(
        dataset="my data/it's here.jsonl",
        small="builtin:llama-nano",
        target="./models/big one",
        pruning_rate=0.955,
        strata=7,
        strata_by="log",
        learning_rate=2e-05,
        limit=600,
        seed=3,
    )
    given = read_back(run_command(plan, name="a 'name'"))
    assert given.pop("name") == "a 'name'"
    settings = {name: given[name] for name in Plan.model_fields if given.get(name) is not None}
    assert Plan.make(**settings) == plan
