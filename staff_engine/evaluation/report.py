"""The results of an evaluation run: cells, means, intervals, differences from random, and cost."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from staff_engine.errors import RunError
from staff_engine.evaluation.cells import (
    CELLS_FOLDER,
    FULL,
    NOTHING,
    Budget,
    Cell,
    Scores,
    arms_of,
    cells_of,
    damaged_cells,
    label_of,
    read_cells,
)
from staff_engine.evaluation.metrics import METRICS, Metric
from staff_engine.pipelines.similarity.measures import Number
from staff_engine.plan import EvaluationPlan, Plan
from staff_engine.runs import stages
from staff_engine.runs.folders import Run, read_record
from staff_engine.runs.integrity.check import Damage, damage_sentence
from staff_engine.runs.summary import load_timings
from staff_engine.selection.methods import METHODS
from staff_engine.system.files import read_model
from staff_engine.system.words import percent

FACTS_FILE = "evaluation.json"
OLDER_FACTS_FILE = "comparison.json"
"""Its name in runs of older versions."""

JUDGING = {"held_out", "held_out_samples", "answers", "answer_tokens", "metric"}
"""Settings that define how every cell is evaluated."""

CONFIDENCE = 0.95

REFERENCE = "random"
"""The arm with which the others are compared."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Mean(_Frozen):
    """A mean over seeds and the bounds of its 95 % interval; the bounds are NaN with one seed."""

    value: Number
    low: Number
    high: Number
    seeds: int

    @property
    def tells(self) -> bool:
        """Whether the interval is known and does not include 0: a significant difference."""
        return bool(self.low > 0 or self.high < 0)


class Facts(_Frozen):
    """How the cells of an evaluation are measured; written before the first cell."""

    made_with: dict[str, Any]
    metric: Metric
    held_out: int
    """Number of samples whose loss is measured."""
    answers: int
    """Number of samples for which an answer is generated."""
    samples: int
    """Number of samples of the full data on which the target can be trained."""
    selection_seconds: dict[str, float]
    """Seconds that models ran in earlier runs: by "small" for its scores, by STAFF's method, or by label."""
    warnings: tuple[str, ...] = ()
    judging: dict[str, Any] | None = None
    """The settings that define how cells are evaluated; None in files of older versions."""
    coresets: dict[str, str] = {}
    """Cell key → digest of its rows. A cell with other rows is computed again."""


class Row(_Frozen):
    """The results of one arm at one rate and budget."""

    arm: str
    label: str
    scores: Scores | None
    pruning_rate: float | None
    budget: Budget | None
    rows: int
    steps: int
    loss: Mean
    metric: Mean | None
    loss_to_random: Mean | None
    """Paired difference; below 0 is better than random."""
    metric_to_random: Mean | None
    """Paired difference; above 0 is better than random."""
    selection_seconds: float | None
    """Wall time of selecting the coreset, including fine-tuning and scoring models if needed."""
    selection_share: float | None
    """The same as a share of the time of fine-tuning on the full data."""
    train_seconds: float


class EvaluationReport(_Frozen):
    """All results of an evaluation so far."""

    metric: str | None
    held_out: int
    answers: int
    samples: int
    cells: int
    """Number of finished cells."""
    planned: int
    rows: tuple[Row, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values, with null for NaN."""
        return json.loads(self.model_dump_json())


@dataclass(frozen=True)
class Evaluation:
    """The folder of an evaluation run, opened by `open_evaluation`."""

    folder: Path
    plan: Plan
    evaluation: EvaluationPlan

    @property
    def facts(self) -> Facts | None:
        """How cells are measured; None before the first cell."""
        path = _facts_path(self.folder)
        return read_model(path, Facts) if path.exists() else None

    @cached_property
    def cells(self) -> list[Cell]:
        """The finished cells of the plan, in its order."""
        facts = self.facts
        if facts is None or facts.judging not in (None, judging_of(self.evaluation)):
            return []
        known = {
            cell.asked: cell
            for cell in read_cells(self.folder)
            if cell.made_with == facts.made_with
            and facts.coresets.get(cell.asked.key, cell.rows_sha256) == cell.rows_sha256
        }
        return [known[asked] for asked in cells_of(self.plan, self.evaluation) if asked in known]

    def _model_seconds(self, facts: Facts) -> dict[str, float]:
        """Seconds of the models that a selection needs, by arm or by the source of its scores."""
        own = self._timings()
        target = [own[stage.name] for stage in stages.TARGET_SCORES if stage.name in own]
        known = {"target": sum(target)} if len(target) == len(stages.TARGET_SCORES) else {}
        return {**facts.selection_seconds, **known}

    def _timings(self) -> dict[str, float]:
        try:
            return load_timings(self.folder)
        except RunError:
            return {}  # no stage has ended

    @cached_property
    def report(self) -> EvaluationReport:
        """The results so far. Raises RunError before the first cell."""
        facts = self.facts
        if facts is None:
            raise RunError(f"run {self.folder.name} has no finished cell yet")
        rows = tuple(_rows(self.evaluation, self.cells, self._model_seconds(facts)))
        metric = METRICS[facts.metric].label if facts.answers else None
        return EvaluationReport(
            metric=metric,
            held_out=facts.held_out,
            answers=facts.answers,
            samples=facts.samples,
            cells=len(self.cells),
            planned=len(cells_of(self.plan, self.evaluation)),
            rows=rows,
            sentences=tuple(sentences_of(rows, metric)),
            warnings=(*facts.warnings, *_damaged_cells(self.folder)),
        )


def judging_of(evaluation: EvaluationPlan) -> dict[str, Any]:
    """The settings that define how every cell is evaluated."""
    return evaluation.model_dump(include=JUDGING)


def open_evaluation(folder: Path) -> Evaluation:
    """Open the folder of an evaluation run. Raises RunError if it is another kind of run."""
    record = read_record(Run(folder.name, folder))
    if record.evaluation is None:
        raise RunError(f"run {folder.name} is not an evaluation")
    return Evaluation(folder, record.plan, record.evaluation)


def read_evaluation(folder: Path) -> EvaluationReport | None:
    """The results of an evaluation run so far; None for other runs and before the first cell."""
    return open_evaluation(folder).report if _facts_path(folder).exists() else None


def _damaged_cells(folder: Path) -> list[str]:
    """A warning if cells cannot be read; they are not in the report."""
    damage = [Damage(f"{CELLS_FOLDER}/{name}", "cannot be read") for name in damaged_cells(folder)]
    return [damage_sentence(folder, damage)] if damage else []


def _facts_path(folder: Path) -> Path:
    """Path of the facts file. In runs of older versions it has another name."""
    older = folder / OLDER_FACTS_FILE
    return older if older.exists() and not (folder / FACTS_FILE).exists() else folder / FACTS_FILE


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """The mean and its 95 % interval by Student's t, which assumes normally distributed values.

    Parameters
    ----------
    values
        One value per seed, at least one.
    """
    array = np.asarray(values, dtype=np.float64)
    mean, count = float(array.mean()), len(array)
    if count < 2:
        return Mean(value=mean, low=np.nan, high=np.nan, seeds=count)
    from scipy.stats import ttest_1samp

    with warnings.catch_warnings():  # seeds can agree exactly, which does not lose precision
        warnings.filterwarnings("ignore", "Precision loss occurred", RuntimeWarning)
        interval = ttest_1samp(array, 0.0).confidence_interval(CONFIDENCE)
    return Mean(value=mean, low=float(interval.low), high=float(interval.high), seeds=count)


def paired_difference(values: dict[int, float], reference: dict[int, float]) -> Mean | None:
    """The mean of the differences per seed, with its interval; None if the two share no seed."""
    both = sorted(set(values) & set(reference))
    return mean_over_seeds([values[seed] - reference[seed] for seed in both]) if both else None


def _rows(evaluation: EvaluationPlan, cells: Sequence[Cell], model_seconds: dict[str, float]) -> list[Row]:
    groups: dict[tuple[Any, ...], dict[int, Cell]] = {}
    for cell in cells:
        groups.setdefault(_group(cell), {})[cell.seed] = cell
    full = [cell.seconds["train"] for cell in cells if cell.arm == FULL]
    arms = (NOTHING, FULL, *arms_of(evaluation))
    order = sorted(groups, key=lambda group: (group[1] is not None, group[1] or 0, arms.index(group[0])))
    return [
        _row(group, groups[group], groups.get((REFERENCE, group[1], None, group[3]), {}), model_seconds, full)
        for group in order
    ]


def _group(cell: Cell) -> tuple[Any, ...]:
    return cell.arm, cell.pruning_rate, cell.scores, cell.budget


def _row(
    group: tuple[Any, ...],
    cells: dict[int, Cell],
    reference: dict[int, Cell],
    model_seconds: dict[str, float],
    full_seconds: Sequence[float],
) -> Row:
    arm, rate, scores, budget = group
    some = next(iter(cells.values()))
    losses = {seed: cell.loss for seed, cell in cells.items()}
    metrics = {seed: cell.metric for seed, cell in cells.items() if cell.metric is not None}
    compared = rate is not None and arm != REFERENCE
    seconds = _selection_seconds(arm, scores, cells, model_seconds)
    return Row(
        arm=arm,
        label=label_of(arm),
        scores=scores,
        pruning_rate=rate,
        budget=budget,
        rows=some.rows,
        steps=some.steps,
        loss=mean_over_seeds(list(losses.values())),
        metric=mean_over_seeds(list(metrics.values())) if metrics else None,
        loss_to_random=(
            paired_difference(losses, {seed: cell.loss for seed, cell in reference.items()})
            if compared
            else None
        ),
        metric_to_random=(
            paired_difference(
                metrics, {seed: cell.metric for seed, cell in reference.items() if cell.metric is not None}
            )
            if compared
            else None
        ),
        selection_seconds=seconds,
        selection_share=None
        if seconds is None or not full_seconds
        else seconds / float(np.mean(full_seconds)),
        train_seconds=float(np.mean([cell.seconds["train"] for cell in cells.values()])),
    )


def _selection_seconds(
    arm: str, scores: Scores | None, cells: dict[int, Cell], model_seconds: dict[str, float]
) -> float | None:
    """Seconds of the models and of the selection itself; None if nothing is selected or it is unknown."""
    if arm in (NOTHING, FULL):
        return None
    chosen = float(np.mean([cell.seconds["select"] for cell in cells.values()]))
    if arm in METHODS and not (METHODS[arm].reads or METHODS[arm].of_run):
        return chosen
    models = model_seconds.get(scores or arm)
    return None if models is None else models + chosen


def sentences_of(rows: Sequence[Row], metric: str | None) -> list[str]:
    """Compare STAFF's coresets with random in sentences, rate by rate.

    Parameters
    ----------
    rows
        Rows of a report: all, or those of one rate and budget.
    metric
        The metric of the report.
    """
    sentences = []
    both = len({row.budget for row in rows} - {None}) > 1
    for row in rows:
        if row.pruning_rate is None or (row.arm in METHODS and not METHODS[row.arm].of_run):
            continue
        where = f"At {percent(row.pruning_rate)} removed"
        where += f", equal {row.budget}" if both else ""
        if row.loss_to_random is not None:
            sentences.append(
                f"{where}: {_sentence(row.label, 'held-out loss', row.loss_to_random, better=-1)}"
            )
        if row.metric_to_random is not None and metric:
            sentences.append(f"{where}: {_sentence(row.label, metric, row.metric_to_random, better=1)}")
    return sentences


def _sentence(label: str, what: str, difference: Mean, *, better: int) -> str:
    if not np.isfinite(difference.value):
        return (
            f"{label} cannot be compared with random by {what}: a fine-tuning diverged (its result is not"
            " a number)."
        )
    if difference.seeds < 2:
        return (
            f"the {what} of {label} differs from that of random by {difference.value:+.3g}. One seed cannot"
            " show how much of this is chance."
        )
    interval = f"{difference.low:+.3g} to {difference.high:+.3g} ({difference.seeds} seeds)"
    if not difference.tells:
        return (
            f"{label} shows no significant difference from random in {what}: the 95 % interval of the"
            f" difference, {interval}, includes 0."
        )
    word = "better" if difference.value * better > 0 else "worse"
    return (
        f"{label} is {word} than random by {what}: the difference is {difference.value:+.3g}, 95 % interval"
        f" {interval}."
    )
