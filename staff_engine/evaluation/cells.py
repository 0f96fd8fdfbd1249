"""The cells of an evaluation: one fine-tuning of the target and what came of it, a file each."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from staff_engine.errors import PlanError, RunError
from staff_engine.plan import EvaluationPlan, Plan
from staff_engine.selection.methods import METHODS, method_named
from staff_engine.system.files import read_model, write_json
from staff_engine.system.words import percent

CELLS_FOLDER = "cells"

Budget = Literal["epochs", "steps"]
Scores = Literal["small", "target"]

NOTHING, FULL = "nothing", "full"
"""The cells beside the coresets: the target as it is, and fine-tuned on all samples."""

BUDGETS: dict[str, tuple[Budget, ...]] = {
    "epochs": ("epochs",), "steps": ("steps",), "both": ("epochs", "steps"),
}  # fmt: skip
"""What `EvaluationPlan.budget` asks for."""

SCORES: tuple[Scores, ...] = ("small", "target")
RESERVED = (
    NOTHING, FULL, *SCORES, *METHODS, *(f"{method}-{scores}" for method in METHODS for scores in SCORES),
)  # fmt: skip
"""What no further run may be called: other arms, whose scores are read, beginnings of cells' files."""

LONGEST_LABEL = 40
"""Characters of a further run's label."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What a cell is to be: whose coreset, at which rate, by which scores, with which seed and budget."""

    arm: str
    """A method, the label of a further run, `NOTHING` or `FULL`."""
    seed: int = 0
    pruning_rate: float | None = None
    scores: Scores | None = None  # None where no score is read, or the run's own are
    budget: Budget | None = None
    beta: float | None = None  # fraction of the hardest that it cuts; None for none, or for what STAFF cuts

    @property
    def key(self) -> str:
        """Its file's name, as people can read it: grand-target-p0.9-s0-epochs."""
        parts = [slug(self.arm)]
        parts += [self.scores] if self.scores else []
        parts += [f"b{self.beta:g}"] if self.beta is not None else []
        parts += [f"p{self.pruning_rate:g}"] if self.pruning_rate is not None else []
        parts += [f"s{self.seed}"] if self.arm != NOTHING else []
        return "-".join([*parts, *([self.budget] if self.budget else [])])

    @property
    def words(self) -> str:
        """What it is, in words."""
        rate = f", {percent(self.pruning_rate)} removed" if self.pruning_rate is not None else ""
        budget = f", equal {self.budget}" if self.budget else ""
        beta = f", β {self.beta:g}" if self.beta is not None else ""
        return f"{self.arm}{beta}{rate}{budget}, seed {self.seed}"


class Cell(BaseModel):
    """What came of a fine-tuning of the target; frozen."""

    model_config = ConfigDict(frozen=True)

    arm: str
    seed: int
    pruning_rate: float | None = None
    scores: Scores | None = None
    budget: Budget | None = None
    beta: float | None = None
    rows: int
    """Samples that were trained on."""
    rows_sha256: str
    """Of their row ids: int64, ascending, little-endian."""
    steps: int
    """Optimizer steps."""
    loss: float
    """Held-out loss in nats: mean over the samples of the mean over a sample's response tokens."""
    metric: float | None
    """Mean score of the generated answers, 0 to 100; None where none was generated."""
    losses: tuple[float, ...]
    """The loss of each held-out sample."""
    answers: tuple[float, ...]
    """The score of each generated answer."""
    seconds: dict[str, float]
    """Of select, train (with loading the model) and evaluate."""
    made_with: dict[str, Any]
    """All else that it depends on; a cell that was made with something else is not trusted."""

    @property
    def asked(self) -> Asked:
        """What it was to be."""
        return Asked(self.arm, self.seed, self.pruning_rate, self.scores, self.budget, self.beta)


def cells_of(plan: Plan, evaluation: EvaluationPlan) -> list[Asked]:
    """Every cell of an evaluation, seed after seed, so that all arms are there early.

    `NOTHING` once, `FULL` once a seed: on the full data equal steps are equal epochs.
    """
    found = [Asked(NOTHING, plan.seed)]
    for seed in range(plan.seed, plan.seed + evaluation.seeds):
        found.append(Asked(FULL, seed))
        found += [
            Asked(arm, seed, rate, _scores_read(arm, evaluation), budget, _beta(arm, plan, evaluation))
            for rate in evaluation.pruning_rates
            for arm in arms_of(evaluation)
            for budget in BUDGETS[evaluation.budget]
        ]
    return found


def arms_of(evaluation: EvaluationPlan) -> tuple[str, ...]:
    """The methods, then the labels of the further runs."""
    return (*evaluation.methods, *evaluation.also)


def _scores_read(arm: str, evaluation: EvaluationPlan) -> Scores | None:
    if arm in evaluation.also or METHODS[arm].reads in ("nothing", "staff"):
        return None
    return evaluation.baseline_scores


def needs_target_scores(evaluation: EvaluationPlan) -> bool:
    """Whether one of its methods reads the scores of the fine-tuned target."""
    return any(_scores_read(arm, evaluation) == "target" for arm in evaluation.methods)


def _beta(arm: str, plan: Plan, evaluation: EvaluationPlan) -> float | None:
    if arm in evaluation.also or not METHODS[arm].cuts or evaluation.beta == plan.drop_hardest:
        return None
    return evaluation.beta


def check_arms(evaluation: EvaluationPlan) -> None:
    """Raise PlanError for a method that there is not, or a label that is taken or has no letter or digit."""
    for method in evaluation.methods:
        method_named(method)
    taken = [*RESERVED]
    for label in evaluation.also:
        if not slug(label) or len(label) > LONGEST_LABEL:
            raise PlanError(
                f"label of a further run is {label!r}; allowed: up to {LONGEST_LABEL} characters,"
                " among them a letter or a digit"
            )
        if slug(label) in taken:
            raise PlanError(f"label {label!r} is taken by a method or another run; allowed: any other")
        taken.append(slug(label))


def label_of(arm: str) -> str:
    """What people call an arm."""
    if arm in METHODS:
        return METHODS[arm].label
    return {NOTHING: "nothing (target untouched)", FULL: "full data"}.get(arm, arm)


def slug(text: str) -> str:
    """A text as a part of a file's name: letters and digits of any script."""
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")


def sha256_of(rows: np.ndarray) -> str:
    """The digest of row ids."""
    return hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest()


def write_cell(folder: Path, cell: Cell) -> None:
    """Write a cell into an evaluation's folder, whole or not at all."""
    (folder / CELLS_FOLDER).mkdir(exist_ok=True)
    write_json(_path(folder, cell.asked), cell.model_dump(mode="json"))


def read_cell(folder: Path, asked: Asked) -> Cell | None:
    """The cell of a key; None if there is none, or it is damaged."""
    path = _path(folder, asked)
    return next(_read([path]), None) if path.exists() else None


def read_cells(folder: Path) -> list[Cell]:
    """All cells of an evaluation's folder, whatever they were made with; damaged ones are left out."""
    return list(_read(sorted((folder / CELLS_FOLDER).glob("*.json"))))


def _read(paths: list[Path]) -> Iterator[Cell]:
    for path in paths:
        try:
            yield read_model(path, Cell)
        except RunError as error:
            log.warning("a cell is left out: %s", error)


def _path(folder: Path, asked: Asked) -> Path:
    return folder / CELLS_FOLDER / f"{asked.key}.json"
