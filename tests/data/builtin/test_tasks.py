import itertools
import subprocess
import sys

import pytest

from staff_engine.data.builtin.tasks import TASKS, check_task, made_with, task_rows
from staff_engine.errors import DatasetError
from staff_engine.plan import Plan
from staff_engine.system.processes import PROJECT_FOLDER

QUICK = ["kazakh", "chat"]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_in_a_sentence_what_it_is_with_licence_and_metric(name):
    task = TASKS[name]
    assert task.name == name
    assert task.sentence.endswith(".") and task.sentence.count(".") == 1
    assert "License" in task.license
    assert task.metric == ("chrf" if name == "kazakh" else "rouge-l")
    assert f"builtin:{name}" in Plan.model_fields["dataset"].description


def sides(name):
    return [list(task_rows(f"builtin:{name}", split)) for split in ("train", "held_out")]


@pytest.mark.parametrize("name", [*QUICK, pytest.param("docstrings", marks=pytest.mark.long)])
def test_a_tenth_is_held_out_and_no_prompt_is_on_both_sides(name):
    train, held_out = sides(name)
    assert 0.08 < len(held_out) / (len(train) + len(held_out)) < 0.12
    assert not {row["prompt"] for row in train} & {row["prompt"] for row in held_out}
    assert len(train) + len(held_out) == sum(1 for _ in TASKS[name].rows())


def test_the_side_of_a_row_does_not_depend_on_the_others(monkeypatch):
    train, held_out = sides("chat")
    some = [row for place, row in enumerate(TASKS["chat"].rows()) if place % 7 == 0]
    monkeypatch.setitem(
        TASKS, "chat", TASKS["chat"].__class__("chat", "", "", "rouge-l", lambda: reversed(some))
    )
    few, few_held_out = sides("chat")
    assert all(row in train for row in few)
    assert all(row in held_out for row in few_held_out)


def test_the_sides_are_cut_from_the_rows_as_they_come():
    first = list(itertools.islice(task_rows("builtin:docstrings"), 100))
    held_out = list(itertools.islice(task_rows("builtin:docstrings", "held_out"), 10))
    rows = list(itertools.islice(TASKS["docstrings"].rows(), 200))
    assert [row for row in rows if row in first] == first
    assert all(row not in first for row in held_out)


@pytest.mark.parametrize(
    ("source", "split", "says"),
    [
        (
            "builtin:poems",
            "train",
            "unknown built-in data set 'builtin:poems'; allowed: docstrings, kazakh, chat",
        ),
        ("builtin:chat", "test", "unknown split 'test' of builtin:chat; allowed: train and held_out"),
    ],
)
def test_a_task_or_split_that_is_not_there_is_named_with_those_that_are(source, split, says):
    for ask in (check_task, task_rows):
        with pytest.raises(DatasetError, match=says):
            ask(source, split)


@pytest.mark.parametrize(
    ("module", "name", "pip"),
    [
        ("babel", "kazakh", "babel"),
        ("chatterbot_corpus", "chat", "chatterbot-corpus"),
        ("yaml", "chat", "pyyaml"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch, module, name, pip):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DatasetError, match=f"^builtin:{name} needs {pip}; .*pip install {pip}$"):
        check_task(f"builtin:{name}")
    assert check_task("builtin:docstrings")


def test_what_rows_were_made_with_is_known():
    assert set(made_with("builtin:docstrings")) == {"python"}
    assert set(made_with("builtin:kazakh")) == {"python", "babel"}


def test_no_package_is_loaded_before_rows_are_made():
    code = "import sys, staff_engine.cli.main, pages.parts.data.picker; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_FOLDER
    )
    assert "staff_engine.data.builtin.kazakh" in loaded.stdout.split()
    assert not {"babel", "chatterbot_corpus"} & set(loaded.stdout.split())
