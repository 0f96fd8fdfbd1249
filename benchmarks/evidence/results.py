"""The endpoints of the experiment, from its table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.evidence import analysis
from benchmarks.evidence.analysis import Estimate
from benchmarks.evidence.grid import ORACLE
from staff_engine.evaluation.cells import FULL
from staff_engine.selection.methods import METHODS

REFERENCE, OURS, PAPER = "random", "staff-studio", "staff-paper"
TIME = "random-time"
NO_RIVALS = (OURS, REFERENCE, ORACLE)
"""Methods that Studio is not compared with as one of the other methods."""


@dataclass(frozen=True)
class Gap:
    """The primary endpoint of a data set."""

    data: str
    task: str
    seeds: int
    closed: float
    """Share of the way from random to the full data."""


def losses(table: pd.DataFrame, data: str, arm: str, column: str = "loss") -> pd.Series:
    """A figure of an arm on a data set, by seed; empty if it has no cell."""
    chosen = table[(table["data"] == data) & (table["arm"] == arm)]
    return chosen.set_index("seed")[column].sort_index()


def gaps(table: pd.DataFrame, arm: str = OURS) -> list[Gap]:
    """The share of the gap that an arm closes on each data set that has it, random and the full data.

    On data without faults, the oracle is random.
    """
    found = []
    for data, rows in table.groupby("data", sort=False):
        same = arm == ORACLE and not rows["faulty"].any()
        ours, random = _paired(
            losses(table, data, REFERENCE if same else arm), losses(table, data, REFERENCE)
        )
        full = losses(table, data, FULL)
        if len(ours) and len(full):
            closed = analysis.gap_closed(ours.to_numpy(), random.to_numpy(), full.to_numpy())
            found.append(Gap(str(data), str(rows["task"].iloc[0]), len(ours), closed))
    return found


def primary(table: pd.DataFrame, arm: str = OURS) -> Estimate | None:
    """The primary endpoint, or the same of another arm; None before two tasks have cells."""
    by_task: dict[str, list[float]] = {}
    for gap in gaps(table, arm):
        by_task.setdefault(gap.task, []).append(gap.closed)
    return analysis.over_tasks(by_task) if len(by_task) > 1 else None


def difference(table: pd.DataFrame, arm: str, other: str, data: list[str]) -> Estimate | None:
    """Mean difference in nats over data sets, below 0 if the arm is better; None without two seeds."""
    pairs = []
    for name in data:
        ours, theirs = _paired(losses(table, name, arm, "losses"), losses(table, name, other, "losses"))
        if len(ours) > 1:
            pairs.append((np.stack(ours.to_list()), np.stack(theirs.to_list())))
    return analysis.over_draws(pairs) if pairs else None


@dataclass(frozen=True)
class Endpoint:
    """A secondary endpoint, with Holm's correction over all of them."""

    words: str
    estimate: Estimate
    corrected: float


def secondary(table: pd.DataFrame) -> list[Endpoint]:
    """The secondary endpoints that have cells, in the order of the protocol."""
    faulty, clean = data_of(table)
    asked = [
        ("Studio and random, data with faults", REFERENCE, faulty),
        ("Studio and random, data without faults", REFERENCE, clean),
    ]
    others = [arm for arm in table["arm"].unique() if arm in METHODS and arm not in NO_RIVALS]
    asked += [
        (f"Studio and {label_of(arm)}, {_in_words(table, arm)}", arm, [*faulty, *clean]) for arm in others
    ]
    found = [(words, difference(table, OURS, other, data)) for words, other, data in asked]
    known = [(words, estimate) for words, estimate in found if estimate is not None]
    corrected = analysis.holm([estimate.p for _, estimate in known])
    return [
        Endpoint(words, estimate, float(p)) for (words, estimate), p in zip(known, corrected, strict=True)
    ]


def _in_words(table: pd.DataFrame, arm: str) -> str:
    """The data of a comparison with Studio: all of it, or that of the tasks that have seeds of both arms."""
    ours = _tasks_with_seeds(table, OURS)
    shared = ours & _tasks_with_seeds(table, arm)
    return "all data" if shared == ours else f"all data of {' and '.join(sorted(shared))}"


def _tasks_with_seeds(table: pd.DataFrame, arm: str) -> set[str]:
    """The tasks with a data set that has at least two seeds of an arm."""
    counts = table[table["arm"] == arm].groupby(["task", "data"])["seed"].nunique()
    return set(counts[counts > 1].index.get_level_values("task"))


def data_of(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The data sets with faults, and those without. Intervals depend a little on their order."""
    faulty = set(table.loc[table["faulty"], "data"])
    return sorted(faulty), sorted(set(table["data"]) - faulty)


def deviations(table: pd.DataFrame) -> dict[str, tuple[float, int]]:
    """Task → the pooled standard deviation of a paired difference from random, nats, and its cells."""
    found = {}
    for task, rows in table.groupby("task", sort=False):
        differences = [
            (ours - random).to_numpy()
            for data in rows["data"].unique()
            for arm in rows["arm"].unique()
            if arm not in (REFERENCE, FULL, "nothing")
            for ours, random in [_paired(losses(table, data, arm), losses(table, data, REFERENCE))]
        ]
        freedom = sum(len(each) - 1 for each in differences if len(each) > 1)
        if freedom:
            found[str(task)] = (analysis.pooled_deviation(differences), freedom)
    return found


def label_of(arm: str) -> str:
    """The name of an arm for display."""
    from staff_engine.evaluation.cells import label_of as label

    return label(arm)


def _paired(first: pd.Series, second: pd.Series) -> tuple[pd.Series, pd.Series]:
    both = first.index.intersection(second.index)
    return first.loc[both], second.loc[both]
