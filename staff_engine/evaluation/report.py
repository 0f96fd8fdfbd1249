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
from staff_engine.evaluation.power import Power, interval, power_of, spread_of
from staff_engine.evaluation.wording import sentences_of
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.pipelines.similarity.measures import Number
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.folders import Run, read_record
from staff_engine.runs.integrity.check import Damage, damage_sentence
from staff_engine.runs.summary import load_timings
from staff_engine.selection.methods import METHODS
from staff_engine.system.files import read_model

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
    """Seconds that models ran in earlier runs: by "small" for its scores, by method, or by label."""
    warnings: tuple[str, ...] = ()
    judging: dict[str, Any] | None = None
    """The settings that define how cells are evaluated; None in files of older versions."""
    coresets: dict[str, str] = {}
    """Cell key → digest of its rows. A cell with other rows is computed again."""
    response_tokens: tuple[int, ...] = ()
    """Number of response tokens of each held-out sample; empty in files of older versions."""
    kinds: dict[str, dict[str, float]] = {}
    """Cell key → share of each kind of row in its training; empty if the data has no field `_kind`."""

    def token_mean(self, losses: Sequence[float]) -> float:
        """The mean loss over all held-out response tokens, nats; NaN in files of older versions.

        `losses` has the mean loss of each held-out sample, as in a cell.
        """
        if not self.response_tokens:
            return float("nan")
        return float(np.average(losses, weights=self.response_tokens))


class Row(_Frozen):
    """The results of one arm at one rate and budget."""

    arm: str
    label: str
    scores: Scores | None
    pruning_rate: float | None
    budget: Budget | None
    rows: int
    """Number of samples in the training; the mean over the seeds if it depends on them."""
    steps: int
    """Optimizer steps, likewise."""
    loss: Mean
    metric: Mean | None
    loss_to_random: Mean | None
    """Paired difference; below 0 is better than random. Its interval is over seeds and held-out samples."""
    power: Power | None = None
    """What this comparison could have shown; None with one seed or one held-out sample."""
    metric_to_random: Mean | None
    """Paired difference; above 0 is better than random."""
    selection_seconds: float | None
    """Wall time of selecting the coreset, including fine-tuning and scoring models if needed."""
    selection_share: float | None
    """The same as a share of the time of fine-tuning on the full data."""
    train_seconds: float
    kinds: dict[str, float] = {}
    """Share of each kind of row in the training, mean over the seeds; empty if unknown."""


class EvaluationReport(_Frozen):
    """All results of an evaluation so far."""

    metric: str | None
    held_out: int
    answers: int
    samples: int
    cells: int
    """Number of finished cells."""
    planned: int
    seed_seconds: float | None = None
    """Seconds that one more seed takes, over all arms."""
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
        rows = tuple(
            row.model_copy(update={"kinds": _mean_kinds(row, self.cells, facts.kinds)})
            for row in _rows(self.evaluation, self.cells, self._model_seconds(facts))
        )
        metric = METRICS[facts.metric].label if facts.answers else None
        return EvaluationReport(
            metric=metric,
            held_out=facts.held_out,
            answers=facts.answers,
            samples=facts.samples,
            cells=len(self.cells),
            planned=len(cells_of(self.plan, self.evaluation)),
            seed_seconds=(seconds := _seed_seconds(self.cells)),
            rows=rows,
            sentences=tuple(sentences_of(rows, metric, seconds)),
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


def loss_difference(cells: dict[int, Cell], reference: dict[int, Cell]) -> tuple[Mean | None, Power | None]:
    """The mean difference of the held-out losses, and what it could have shown.

    Parameters
    ----------
    cells, reference
        The cells of two arms by seed. Only the seeds of both count.

    Notes
    -----
    The interval is over other seeds and other held-out samples. With one seed there is none, and with
    one held-out sample it is over seeds only.
    """
    both = sorted(set(cells) & set(reference))
    mean = paired_difference(*({seed: each[seed].loss for seed in both} for each in (cells, reference)))
    losses = [np.array([each[seed].losses for seed in both]) for each in (cells, reference)]
    differences = losses[0] - losses[1]
    if mean is None or min(differences.shape) < 2 or not np.isfinite(differences).all():
        return mean, None
    spread = spread_of(differences)
    low, high = interval(spread)
    return Mean(value=mean.value, low=low, high=high, seeds=mean.seeds), power_of(spread)


def _seed_seconds(cells: Sequence[Cell]) -> float | None:
    """Seconds that all cells of one seed take, on average; None before the first."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for cell in cells:
        if cell.arm != NOTHING:
            groups.setdefault(_group(cell), []).append(sum(cell.seconds.values()))
    return sum(float(np.mean(seconds)) for seconds in groups.values()) if groups else None


def _mean_kinds(row: Row, cells: Sequence[Cell], kinds: dict[str, dict[str, float]]) -> dict[str, float]:
    """The shares of the kinds in the training of an arm, mean over its cells; empty if unknown."""
    group = (row.arm, row.pruning_rate, row.scores, row.budget)
    mine = [kinds[cell.asked.key] for cell in cells if _group(cell) == group and cell.asked.key in kinds]
    return {kind: float(np.mean([each[kind] for each in mine])) for kind in mine[0]} if mine else {}


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
    losses = {seed: cell.loss for seed, cell in cells.items()}
    metrics = {seed: cell.metric for seed, cell in cells.items() if cell.metric is not None}
    compared = rate is not None and arm != REFERENCE
    seconds = _selection_seconds(arm, scores, cells, model_seconds)
    difference, power = loss_difference(cells, reference) if compared else (None, None)
    return Row(
        arm=arm,
        label=label_of(arm),
        scores=scores,
        pruning_rate=rate,
        budget=budget,
        rows=round(np.mean([cell.rows for cell in cells.values()])),
        steps=round(np.mean([cell.steps for cell in cells.values()])),
        loss=mean_over_seeds(list(losses.values())),
        metric=mean_over_seeds(list(metrics.values())) if metrics else None,
        loss_to_random=difference,
        power=power,
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
    models = model_seconds.get(arm, model_seconds.get(scores or arm))
    return None if models is None else models + chosen
