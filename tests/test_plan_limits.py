"""Every setting at its extremes: the plan refuses what the engine cannot do, before anything is written."""

from typing import Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from staff_engine.cli.main import main
from staff_engine.errors import PlanError, RunError, StaffError
from staff_engine.evaluation import planning
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import SEEDS, Plan
from staff_engine.runs import control
from staff_engine.runs.control import create_run, list_runs
from staff_engine.runs.folders import with_absolute_paths
from staff_engine.similarity_plan import SimilarityPlan

NEEDED = {
    Plan: {"dataset": "builtin:chat", "small": "builtin:llama-nano", "target": "builtin:llama-mini"},
    SimilarityPlan: {"smalls": ("a",), "targets": ("b",)},
    EvaluationPlan: {"source": "a", "methods": ("staff",), "pruning_rates": (0.5,)},
}
NUMBERS = [
    -1,
    0,
    2**31,
    2**32,
    2**63,
    10**30,
    "9" * 5000,
    "1e400",
    float("nan"),
    float("inf"),
    -0.0,
    1.5,
    True,
]
TEXTS = ["", "a" * 400, "a/" * 5000, "a\0b", "\ud800", "../" * 3000, "\x1b[2J", "ab\ncd"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path))
    return tmp_path


def fields(kind):
    return [(kind, name) for name in kind.model_fields]


@pytest.mark.parametrize(("kind", "name"), [*fields(Plan), *fields(SimilarityPlan), *fields(EvaluationPlan)])
def test_an_extreme_is_refused_with_its_name_or_can_be_written_down(kind, name, home):
    many = get_origin(kind.model_fields[name].annotation) is tuple
    for value in (*NUMBERS, *TEXTS, None, [], {}):
        try:
            made = kind.make(**{**NEEDED[kind], name: (value,) if many else value})
        except PlanError as error:
            text = str(error)
            assert name in text or "prompt_column" in text, text
            assert len(text) < 400 + 20 * len(Plan.model_fields) and "\n" not in text, "one line"
            continue
        assert made == kind.make(**made.model_dump()) == kind.model_validate_json(made.model_dump_json())
        if kind is Plan:
            try:
                run = create_run(made)
            except StaffError:
                assert list_runs() == []
                continue
            assert control.read_record(run).plan == with_absolute_paths(made)
            control.delete(run)


def numeric(kind):
    """The fields that are numbers, without None."""
    for name, field in kind.model_fields.items():
        kinds = get_args(field.annotation) if get_origin(field.annotation) not in (Literal, None) else ()
        if {field.annotation, *kinds} & {int, float} and get_origin(field.annotation) is not tuple:
            yield name, field


@pytest.mark.parametrize("kind", [Plan, SimilarityPlan, EvaluationPlan])
def test_every_number_has_a_lower_and_an_upper_bound(kind: type[BaseModel]):
    for name, field in numeric(kind):
        bounds = {type(each).__name__ for each in field.metadata}
        if get_origin(field.annotation) is Union or not bounds:
            bounds |= {type(each).__name__ for part in get_args(field.annotation) for each in _within(part)}
        assert bounds & {"Ge", "Gt"} and bounds & {"Le", "Lt"}, name


def _within(annotation):
    """The bounds inside `Annotated[…]`."""
    inside = getattr(annotation, "__metadata__", ())
    return [bound for each in inside for bound in getattr(each, "metadata", [each])]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"seed": SEEDS}, "seed is 4294967296: input should be less than 4294967296"),
        ({"seed": -1}, "seed is -1: input should be greater than or equal to 0"),
        ({"batch_size": 10**12}, "batch_size is 1000000000000: input should be less than or equal to 65536"),
        (
            {"small": "a" * 400},
            r"small is 'aaa.*a… \(402 characters\): too long; allowed: a path of up to 4,096",
        ),
        ({"device": "gpu"}, "device is 'gpu'; allowed: auto, cpu, mps, cuda, cuda:N"),
        ({"dataset": "a\0b"}, r"dataset is 'a\\x00b': it has characters that no text can have"),
    ],
)
def test_what_the_engine_cannot_do_is_refused_in_a_sentence(settings, line):
    with pytest.raises(PlanError, match=line):
        Plan.make(**{**NEEDED[Plan], **settings})


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--format", "nonsense"], "format is 'nonsense'; allowed: "),
        (
            ["--name", "n" * 400],
            "the name of a run is 'nnnnnnnnnnnnnnnnnnnn…' (400 characters); allowed: 1 to 100",
        ),
        (["--name", " "], "the name of a run is '' (0 characters); allowed: 1 to 100"),
        (["--seed", str(SEEDS)], "seed is '4294967296'"),
        (["--out", "o" * 250 + ".jsonl"], "bytes too long"),
        (["--out", "o" * 5000], "too long"),
    ],
)
def test_a_command_refuses_it_before_anything_is_written(options, line, home, capsys):
    data = [word for name, value in NEEDED[Plan].items() for word in (f"--{name}", value)]
    assert main(["run", *data, *options]) == 2
    said = capsys.readouterr().err
    assert line in said and said.count("\n") == 1
    assert list(home.iterdir()) == []


def test_the_seeds_of_an_evaluation_end_within_the_bound(monkeypatch):
    for step in ("check_arms", "check_source", "find_model", "open_sources", "held_out_source"):
        monkeypatch.setattr(planning, step, lambda *args: ("", ""))
    evaluation = EvaluationPlan.make(**NEEDED[EvaluationPlan], seeds=3)
    planning._check(Plan.make(**NEEDED[Plan], seed=SEEDS - 3), evaluation)
    with pytest.raises(
        PlanError, match="3 seeds from 4294967294 on end at 4294967296; allowed: up to 4294967295"
    ):
        planning._check(Plan.make(**NEEDED[Plan], seed=SEEDS - 2), evaluation)


def test_a_plan_file_that_is_nested_without_end_is_refused(tmp_path, capsys):
    path = tmp_path / "plan.json"
    path.write_text("[" * 100_000)
    assert main(["run", "--plan", str(path)]) == 2
    assert "is not JSON" in capsys.readouterr().err


def test_a_run_is_renamed_only_to_what_a_name_can_be():
    run = create_run(Plan.make(**NEEDED[Plan]))
    for wrong in ("", " ", "n" * 101, "a\nb", "a\x1b[2J"):
        with pytest.raises(RunError, match="the name of a run is "):
            control.rename(run, wrong)
    control.rename(run, " 👩‍💻 a good name ")
    assert control.read_record(run).name == "👩‍💻 a good name"
