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
        ),
        Task(
            "chat",
            "Answer a question or remark as a chat bot does, in English.",
            "BSD License (package chatterbot-corpus)",
            "rouge-l",
            chat,
            (("chatterbot_corpus", "chatterbot-corpus"), ("yaml", "pyyaml")),
        ),
    )
}


def is_task(source: str) -> bool:
    """Whether a data set's name has the form of a built-in task, whether it exists or not."""
    return source.startswith(PREFIX)


def task_of(source: str) -> Task:
    """The task of a name such as `builtin:chat`. Raises DatasetError if it is unknown."""
    name = source.removeprefix(PREFIX)
    if name not in TASKS:
        raise DatasetError(f"unknown built-in data set {source!r}; allowed: {', '.join(TASKS)}")
    return TASKS[name]


def check_task(source: str, split: str = "train") -> Task:
    """Check before any work that a task's rows can be generated.

    Raises
    ------
    DatasetError
        If the task or the split is unknown, or a required package is missing.
    """
    task = task_of(source)
    if split not in SPLITS:
        raise DatasetError(f"unknown split {split!r} of {source}; allowed: {' and '.join(SPLITS)}")
    missing = " ".join(name for module, name in task.packages if importlib.util.find_spec(module) is None)
    if missing:
        raise DatasetError(f"{source} needs {missing}; install with: pip install {missing}")
    return task


def task_rows(source: str, split: str = "train") -> Iterator[dict[str, str]]:
    """The rows of one split of a task, in order: `train`, nine of ten prompts, or `held_out`.

    Raises
    ------
    DatasetError
        As `check_task`.
    """
    task = check_task(source, split)
    return (row for row in task.rows() if side_of(row["prompt"]) == split)


def made_with(source: str) -> dict[str, str]:
    """The versions that a task's rows depend on: Python's, and those of its installed packages."""
    versions = {"python": platform.python_version()}
    for _, name in task_of(source).packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
