import shlex

import typer

from staff_engine.cli.command_lines import COMPARED_BY, evaluate_command, run_command, similarity_command
from staff_engine.cli.main import app
from staff_engine.plan import Plan
from staff_engine.program import COMMAND
from staff_engine.similarity_plan import SimilarityPlan

COMMANDS = typer.main.get_command(app).commands


def read_back(command, name="run"):
    """The options of a command line, as a shell and the program would read them."""
    words = words_of(command)
    assert words[0] == name
    return COMMANDS[name].make_context(name, words[1:]).params


def words_of(command):
    """The words after the program's name."""
    assert command.startswith(f"{COMMAND} ")
    return shlex.split(command.removeprefix(COMMAND).replace("\\\n", " "))


def test_what_is_as_by_default_is_not_said():
    plan = Plan.make(dataset="rows.jsonl", small="a/b", target="a/c")
    assert words_of(run_command(plan)) == [
        "run", "--dataset", "rows.jsonl", "--small", "a/b", "--target", "a/c",
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


def test_a_value_that_starts_as_an_option_is_read_back():
    plan = Plan.make(dataset="rows.jsonl", small="a/b", target="a/c", lora_targets="-mlp,-o_proj")
    assert read_back(run_command(plan))["lora_targets"] == "-mlp,-o_proj"


def test_the_command_of_a_similarity_run_makes_the_same_again_with_every_model():
    compared = SimilarityPlan.make(
        smalls=["builtin:llama-nano", "./my models/one"], targets=["a/b"], sample=40
    )
    plan = Plan.make(
        dataset="it's here.jsonl", small="builtin:llama-nano", target="a/b", limit=60, tune_target=10,
        split="test", device="cpu",
    )  # fmt: skip
    given = read_back(similarity_command(plan, compared, name="a 'name'"), "similarity")
    assert given["name"] == "a 'name'"
    assert (tuple(given["small"]), tuple(given["target"])) == (compared.smalls, compared.targets)
    assert (given["sample"], given["strata"]) == (40, 10)
    settings = {name: given[name] for name in Plan.model_fields if given.get(name) is not None}
    settings |= {"small": "builtin:llama-nano", "target": "a/b"}
    del settings["strata"]
    assert Plan.make(**settings) == plan


def test_of_a_similarity_run_too_only_what_is_not_as_by_default_is_said():
    plan = Plan.make(dataset="rows.jsonl", small="a", target="b")
    command = similarity_command(plan, SimilarityPlan.make(smalls=["a"], targets=["b"]))
    assert words_of(command) == [
        "similarity", "--dataset", "rows.jsonl", "--small", "a", "--target", "b",
    ]  # fmt: skip


def test_the_settings_of_a_similarity_run_are_the_options_of_its_command():
    options = {option.name for option in COMMANDS["similarity"].params}
    assert options - {"small", "target", "sample", "strata", "name", "detach"} == set(COMPARED_BY)


def test_an_evaluations_command_says_what_differs_from_the_defaults_once_for_each_value():
    settings = {
        "methods": ("staff", "ccs"), "pruning_rates": (0.9, 0.5), "seeds": 3, "budget": "both",
        "baseline_strata": 9, "baseline_scores": "small", "held_out": "my file.jsonl", "answers": 7,
    }  # fmt: skip
    given = read_back(evaluate_command("a run", settings), name="compare")
    assert (given["run"], given["evaluate"], given["seeds"]) == ("a run", True, None)
    assert (list(given["method"]), list(given["pruning_rate"])) == (["staff", "ccs"], [0.9, 0.5])
    assert (given["budget"], given["held_out"], given["answers"]) == ("both", "my file.jsonl", 7)
    assert given["baseline_strata"] == 9


def test_further_runs_stand_in_an_evaluations_command_by_label_and_id():
    also = {"STAFF, it's tuned": "/some where/runs/20260101-a", "STAFF, b": "/some where/runs/20260102-b"}
    given = read_back(evaluate_command("a run", {"also": also}), name="compare")
    assert list(given["also"]) == ["STAFF, it's tuned=20260101-a", "STAFF, b=20260102-b"]
    assert "--also" not in evaluate_command("a run", {"also": {}})
