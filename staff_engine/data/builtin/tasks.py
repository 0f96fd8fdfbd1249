"""The built-in tasks: data from Python or from packages, so that everything works offline."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from staff_engine.data.builtin.chat import chat
from staff_engine.data.builtin.docstrings import docstrings
from staff_engine.data.builtin.kazakh import kazakh
from staff_engine.data.builtin.split import SPLITS, side_of
from staff_engine.data.builtin.variants import Variant, parse_variant, varied
from staff_engine.errors import DatasetError

PREFIX = "builtin:"


@dataclass(frozen=True)
class Task:
    """Data that is generated on this machine."""

    name: str
    sentence: str  # the task in one sentence
    license: str
    metric: Literal["rouge-l", "chrf"]  # the metric for answers
    rows: Callable[[], Iterator[dict[str, str]]]  # all rows: prompt, response and further fields
    packages: tuple[tuple[str, str], ...] = ()  # required packages: name in imports, name for pip
    group: str | None = None  # the field that names the group of a row


TASKS = {
    task.name: task
    for task in (
        Task(
            "docstrings",
            "Describe a function of Python's standard library in a paragraph.",
            "PSF License 2.0 (Python)",
            "rouge-l",
            docstrings,
        ),
        Task(
            "kazakh",
            "Translate names, dates, times and quantities from English into Kazakh.",
            "Unicode License v3 (CLDR, in the package babel)",
            "chrf",
            kazakh,
            (("babel", "babel"),),
            group="kind",
        ),
        Task(
            "chat",
            "Answer a question or remark as a chat bot does, in English.",
            "BSD License (package chatterbot-corpus)",
            "rouge-l",
            chat,
            (("chatterbot_corpus", "chatterbot-corpus"), ("yaml", "pyyaml")),
            group="category",
        ),
    )
}


def is_task(source: str) -> bool:
    """Whether a data set's name has the form of a built-in task, whether it exists or not."""
    return source.startswith(PREFIX)


def task_of(source: str) -> Task:
    """The task of a name such as `builtin:chat?swapped=0.25`. Raises DatasetError if it is unknown."""
    name = source.removeprefix(PREFIX).partition("?")[0]
    if name not in TASKS:
        raise DatasetError(f"unknown built-in data set {source!r}; allowed: {', '.join(TASKS)}")
    return TASKS[name]


def variant_of(source: str) -> Variant:
    """What is done to the rows of a task, by the options in its name. Raises DatasetError if one is wrong."""
    return parse_variant(source, source.partition("?")[2], grouped=task_of(source).group is not None)


def check_task(source: str, split: str = "train") -> Task:
    """Check before any work that a task's rows can be generated.

    Raises
    ------
    DatasetError
        If the task, an option or the split is unknown, or a required package is missing.
    """
    task = task_of(source)
    variant_of(source)
    if split not in SPLITS:
        raise DatasetError(f"unknown split {split!r} of {source}; allowed: {' and '.join(SPLITS)}")
    missing = " ".join(name for module, name in task.packages if importlib.util.find_spec(module) is None)
    if missing:
        raise DatasetError(f"{source} needs {missing}; install with: pip install {missing}")
    return task


def task_rows(source: str, split: str = "train") -> Iterator[dict[str, str]]:
    """The rows of one split of a task, in order: `train`, nine of ten prompts, or `held_out`.

    Only `train` has the faults of a variant (`builtin:kazakh?swapped=0.25`); held-out rows are clean.

    Raises
    ------
    DatasetError
        As `check_task`.
    """
    task = check_task(source, split)
    rows = (row for row in task.rows() if side_of(row["prompt"]) == split)
    variant = variant_of(source)
    return varied(list(rows), variant, group=task.group) if split == "train" and variant.changes else rows


def made_with(source: str) -> dict[str, str]:
    """The versions that a task's rows depend on: Python's, and those of its installed packages."""
    versions = {"python": platform.python_version()}
    for _, name in task_of(source).packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
