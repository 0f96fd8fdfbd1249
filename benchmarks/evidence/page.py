"""The page on how coresets train, from the table of `benchmarks.evidence`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.evidence.analysis import Estimate, detectable
from benchmarks.evidence.grid import ORACLE, Grid
from benchmarks.evidence.results import (
    OURS,
    PAPER,
    REFERENCE,
    TIME,
    data_of,
    deviations,
    difference,
    gaps,
    label_of,
    losses,
    primary,
    secondary,
)
from benchmarks.evidence.scores import sections
from benchmarks.machine import table as markdown
from benchmarks.machine import written_by
from staff_engine.data.builtin.tasks import PREFIX
from staff_engine.evaluation.cells import FULL, NOTHING
from staff_engine.evaluation.report import paired_difference
from staff_engine.system.words import counted, listed

HEAD = """# Evidence: {title}

After reading this page, you know how the coresets of each method train, on data with and without faults,
and how sure that is. [How we test](../understand/evidence.md) says what a cell is and what was fixed
beforehand.

{written}
The small model is {small}, the target {target}.
{cells} of {planned} cells are complete.{missing} Cells of earlier runs of the command are kept; they can be
from another machine. Differences are paired by seed; below 0 is better than
random. A value in brackets is half the width of its 95 % interval over the seeds (Student's t).
"""

TRAINED = {
    "epochs": "after fine-tuning on {share} of the data",
    "steps": "after fine-tuning on {share} of the data for as many steps as on all of it",
}
"""How the coresets were trained, by `Grid.budget`."""

PAPER_TABLE = """## The figures of others

STAFF minus random in the paper's Table 1 (Zhang et al., ICLR 2025), mean of nine models and tasks, in
ROUGE-L, read from the figure in the authors' repository:

{table}

An independent re-run (Data Whisperer, ACL 2025) has STAFF minus random at a mean of +1.10 and a median of
+0.51, with STAFF below random in 5 of 18 cases; without GSM8K the mean is +0.11. Those models are a thousand
times as large as the ones here, so compare signs, not sizes.
"""

RATES = ("20 %", "50 %", "70 %", "80 %", "90 %")
TABLE_1 = {
    "STAFF": (1.04, 1.31, 1.54, 1.72, 2.00),
    "CCS": (0.60, 0.93, 1.17, 1.41, 1.11),
    "D2": (0.43, 0.38, -0.21, -0.59, -0.97),
    "EL2N": (0.18, -0.47, -1.21, -1.78, -2.59),
    "GraNd": (-0.54, -1.94, -3.47, -4.36, -5.70),
}
"""Method − random, ROUGE-L points, by fraction removed."""


def page(content: dict[str, Any], table: pd.DataFrame | None = None) -> str:
    """The text of the measured page.

    Parameters
    ----------
    content
        The head of the measurement: command, date, machine, the grid, and scores (`scores.score_facts`
        by data set).
    table
        One row a cell. Default: that of the grid.
    """
    grid = Grid(**content["grid"])
    table = pd.read_parquet(grid.table) if table is None else table
    there = int((table["arm"] != NOTHING).sum())
    head = HEAD.format(
        title=grid.title,
        written=written_by(content, grid.table.name),
        small=grid.small.removeprefix(PREFIX), target=grid.target.removeprefix(PREFIX),
        cells=there, planned=grid.cells,
        missing="" if there >= grid.cells else " The same command computes the missing ones.",
    )  # fmt: skip
    # The endpoints are those of several tasks and of equal epochs.
    judged = len({each.task for each in grid.data}) > 1 and grid.budget == "epochs"
    parts = [head, _in_short(table, grid)]
    parts += [_primary(table), _secondary(table)] if judged else []
    parts += [_data(table, data) for data in table["data"].unique()]
    parts += [_power(table), sections(content.get("scores", {})), *([_others()] if judged else [])]
    parts += [_missing(table, grid)] if there < grid.cells else []
    return "\n".join(parts)


def headline(table: pd.DataFrame) -> str:
    """What the experiment found, in a sentence for each arm; README and guide repeat them."""
    sentences = []
    for arm in (OURS, PAPER, ORACLE):
        found = []
        for faulty, words in ((True, "with wrong and repeated rows"), (False, "as it is")):
            names = _repeated(table, arm, faulty)
            estimate = difference(table, arm, REFERENCE, names)
            if estimate is not None:
                found.append(
                    f"{_signed(estimate.value)} nats ({_interval(estimate)}) on {_tasks(names)} {words}"
                )
        if found:
            sentences.append(f"{label_of(arm)}: {' and '.join(found)}.")
    return " ".join(sentences) or "No method has seeds to compare yet."


def at_equal_time(table: pd.DataFrame) -> str:
    """Studio beside random samples that take as much time in all; README repeats it. Empty without seeds."""
    names = [name for each in data_of(table) for name in each if _seeds(table, name, OURS, TIME) > 1]
    estimate = difference(table, OURS, TIME, names)
    if estimate is None:
        return ""
    rows = [[losses(table, name, arm, "rows").mean() for name in names] for arm in (TIME, OURS)]
    more = np.mean(np.divide(*rows))
    return (
        f"Studio minus random at equal total time: {_signed(estimate.value)} nats ({_interval(estimate)}) on"
        f" {_tasks(names)}. In that time, the target trains on {more:.1f} times as many random samples."
    )


def _repeated(table: pd.DataFrame, arm: str, faulty: bool) -> list[str]:
    """The data sets, with or without faults, on which an arm and random have at least two seeds."""
    names = table.loc[table["faulty"] == faulty, "data"].unique()
    return [name for name in names if _seeds(table, name, arm, REFERENCE) > 1]


def _seeds(table: pd.DataFrame, data: str, *arms: str) -> int:
    return min(len(losses(table, data, arm)) for arm in arms)


def _tasks(names: list[str]) -> str:
    """The tasks of data sets, in words."""
    return listed(list(dict.fromkeys(name.partition(",")[0] for name in names)))


def _in_short(table: pd.DataFrame, grid: Grid) -> str:
    trained = TRAINED[grid.budget].format(share=f"{1 - grid.pruning_rate:.0%}")
    words = (
        f"The held-out loss of the target {trained}, minus that of random samples, with\nits 95 % interval:"
    )
    found = filter(None, (headline(table), at_equal_time(table)))
    return "\n\n".join(["## In short", words, *found]) + "\n"


def _primary(table: pd.DataFrame) -> str:
    found = gaps(table)
    lines = ["## Primary endpoint", ""]
    if not found:
        return "\n".join([*lines, "No data set has cells of Studio, random and the full data yet.", ""])
    estimate = primary(table)
    if estimate is None:
        lines += ["Only one task has cells, so there is no interval yet.", ""]
    else:
        word = "succeeds" if estimate.low > 0 else "fails"
        lines += [
            f"Studio closes {_percent(estimate.value)} of the gap from random to the full data (95 % interval"
            f" over the tasks {_percent(estimate.low)} to {_percent(estimate.high)}). By the criterion that"
            f" was fixed beforehand, the experiment {word}.",
            "",
            *_of_oracle(table),
        ]
    oracle = {gap.data: _percent(gap.closed) for gap in gaps(table, ORACLE)}
    rows = [
        (gap.data, gap.task, str(gap.seeds), _percent(gap.closed), oracle.get(gap.data, "–")) for gap in found
    ]
    heading = ("data", "task", "seeds", "gap closed by Studio", "by the oracle")
    return "\n".join([*lines, markdown(heading, rows), ""])


def _of_oracle(table: pd.DataFrame) -> list[str]:
    """What the oracle, which knows the clean rows, reaches by the primary endpoint."""
    estimate = primary(table, ORACLE) if (table["arm"] == ORACLE).any() else None
    if estimate is None:
        return []
    words = (
        f"The oracle closes {_percent(estimate.value)} ({_percent(estimate.low)} to"
        f" {_percent(estimate.high)}); without faults, it is random."
    )
    if estimate.low <= 0:
        words += " So knowing all wrong and repeated rows would not have been enough on these data sets."
    return [words, ""]


def _secondary(table: pd.DataFrame) -> str:
    rows = [
        (
            each.words,
            _signed(each.estimate.value),
            _interval(each.estimate),
            _p(each.estimate.p),
            _p(each.corrected),
        )
        for each in secondary(table)
    ]
    if not rows:
        return ""
    heading = ("comparison", "difference, nats", "95 % interval", "p", "p by Holm")
    words = (
        "## Secondary endpoints\n\nBelow 0, Studio is better. The intervals are a bootstrap over seeds and"
        " held-out samples. The last\ncolumn is corrected for the number of comparisons, the intervals are"
        " not.\n"
    )
    return "\n".join([words, markdown(heading, rows), ""])


def _data(table: pd.DataFrame, data: str) -> str:
    rows = []
    for arm in sorted(table["arm"].unique(), key=lambda arm: arm != NOTHING):  # the untouched target first
        by_loss = losses(table, data, arm)
        if not len(by_loss):
            continue
        cells = table[(table["data"] == data) & (table["arm"] == arm)]
        compared = arm not in (REFERENCE, FULL, NOTHING)
        rows.append(
            (
                label_of(arm),
                str(len(by_loss)),
                f"{by_loss.mean():.3f}",
                _beside(table, data, arm, "loss") if compared else "–",
                _beside(table, data, arm, "token_loss") if compared else "–",
                *(_share(cells[kind].mean()) for kind in ("swapped", "duplicate")),
            )
        )
    heading = (
        "arm", "seeds", "held-out loss, nats", "difference from random", "the same over tokens", "swapped",
        "repeated",
    )  # fmt: skip
    beside = difference(table, OURS, FULL, [data])
    words = [] if beside is None else [
        f"Studio minus the full data: {_signed(beside.value)} nats ({_interval(beside)}).", ""
    ]  # fmt: skip
    return "\n".join([f"## {data.capitalize()}", "", markdown(heading, rows), "", *words])


def _beside(table: pd.DataFrame, data: str, arm: str, column: str) -> str:
    mean = paired_difference(
        losses(table, data, arm, column).to_dict(), losses(table, data, REFERENCE, column).to_dict()
    )
    if mean is None:
        return "–"
    reach = (mean.high - mean.low) / 2
    return _signed(mean.value) + (f" ({reach:.3f})" if np.isfinite(reach) else "")


def _power(table: pd.DataFrame) -> str:
    found = deviations(table)
    if not found:
        return ""
    rows = [
        (task, f"{deviation:.3f}", *(f"{detectable(deviation, seeds, freedom):.3f}" for seeds in (3, 5, 10)))
        for task, (deviation, freedom) in found.items()
    ]
    words = (
        "## What could be detected\n\nThe standard deviation of a paired difference from random, pooled over"
        " the methods and data sets of a\ntask, and the smallest true difference, in nats, that a test at 5 %"
        " detects with 80 % power.\n"
    )
    heading = ("task", "standard deviation", "3 seeds", "5 seeds", "10 seeds")
    return "\n".join([words, markdown(heading, rows), ""])


def _missing(table: pd.DataFrame, grid: Grid) -> str:
    """The arms that lack seeds, by data set."""
    lines = [
        "## What is missing",
        "",
        f"The grid has {grid.seeds} seeds of each arm, and {grid.full_seeds} of the full data. Fewer have:",
        "",
    ]
    for data in grid.data:
        by_seeds: dict[int, list[str]] = {}
        for arm, planned in grid.arms_on(data).items():
            seeds = len(losses(table, data.name, arm))
            if seeds < planned:
                by_seeds.setdefault(seeds, []).append(label_of(arm))
        lines += [
            f"- {data.name}, {counted(seeds, 'seed')}: {'; '.join(arms)}"
            for seeds, arms in sorted(by_seeds.items())
        ]
    return "\n".join([*lines, ""])


def _others() -> str:
    rows = [(name, *(f"{value:+.2f}" for value in values)) for name, values in TABLE_1.items()]
    heading = ("", *(f"{rate} removed" for rate in RATES))
    return PAPER_TABLE.format(table=markdown(heading, rows))


def _percent(value: float) -> str:
    return f"{value:+.0%}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.low:+.3f} to {estimate.high:+.3f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"
