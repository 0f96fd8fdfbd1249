"""The cells of an evaluation: each is one fine-tuning of the target and its results, in a file."""

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
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.selection.baselines.ccs import CCS_STRATA
from staff_engine.selection.methods import METHODS, method_named
from staff_engine.system.files import read_model, write_checked
from staff_engine.system.words import percent

CELLS_FOLDER = "cells"

Budget = Literal["epochs", "steps"]
Scores = Literal["small", "target"]

NOTHING, FULL = "nothing", "full"
"""The reference cells: the target without fine-tuning, and fine-tuned on all samples."""

BUDGETS: dict[str, tuple[Budget, ...]] = {
    "epochs": ("epochs",), "steps": ("steps",), "both": ("epochs", "steps"),
}  # fmt: skip
"""Value of `EvaluationPlan.budget` → budgets to evaluate."""

SCORES: tuple[Scores, ...] = ("small", "target")
RESERVED = (
    NOTHING, FULL, *SCORES, *METHODS, *(f"{method}-{scores}" for method in METHODS for scores in SCORES),
)  # fmt: skip
"""Labels that are not allowed for other runs: they are used for arms, scores and file names of cells."""

LONGEST_LABEL = 40
"""Maximum number of characters of the label of another run."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """The specification of a cell: arm, pruning rate, scores, seed and budget."""

    arm: str
    """A method, the label of another run, `NOTHING` or `FULL`."""
    seed: int = 0
    pruning_rate: float | None = None
    scores: Scores | None = None  # None if the arm reads no scores, or those of its own run
    budget: Budget | None = None
    beta: float | None = None  # fraction of the hardest to leave out; None: none, or the same as STAFF
    strata: int | None = None  # K of a baseline; None: it has none, or that of its paper

    @property
    def key(self) -> str:
        """The readable name of its file, for example grand-target-p0.9-s0-epochs."""
        parts = [slug(self.arm)]
        parts += [self.scores] if self.scores else []
        parts += [f"b{self.beta:g}"] if self.beta is not None else []
        parts += [f"k{self.strata}"] if self.strata is not None else []
        parts += [f"p{self.pruning_rate:g}"] if self.pruning_rate is not None else []
        parts += [f"s{self.seed}"] if self.arm != NOTHING else []
        return "-".join([*parts, *([self.budget] if self.budget else [])])

    @property
    def words(self) -> str:
        """The specification in words."""
        rate = f", {percent(self.pruning_rate)} removed" if self.pruning_rate is not None else ""
        budget = f", equal {self.budget}" if self.budget else ""
        beta = f", β {self.beta:g}" if self.beta is not None else ""
        strata = f", K {self.strata}" if self.strata is not None else ""
        return f"{self.arm}{beta}{strata}{rate}{budget}, seed {self.seed}"


class Cell(BaseModel):
    """The results of one fine-tuning of the target; frozen."""

    model_config = ConfigDict(frozen=True)

    arm: str
    seed: int
    pruning_rate: float | None = None
    scores: Scores | None = None
    budget: Budget | None = None
    beta: float | None = None
    strata: int | None = None
    rows: int
    """Number of samples in the training."""
    rows_sha256: str
    """Digest of their row ids as int64, ascending, little-endian."""
    steps: int
    """Optimizer steps."""
    loss: float
    """Held-out loss in nats: the mean over samples of the mean over the response tokens of each."""
    metric: float | None
    """Mean score of the generated answers, 0 to 100; None without answers."""
    losses: tuple[float, ...]
    """The loss of each held-out sample."""
    answers: tuple[float, ...]
    """The score of each generated answer."""
    seconds: dict[str, float]
    """Seconds of select, train (including loading the model) and evaluate."""
    made_with: dict[str, Any]
    """Everything else that the cell depends on. A cell with other values is not used."""

    @property
    def asked(self) -> Asked:
        """The specification of the cell."""
        return Asked(self.arm, self.seed, self.pruning_rate, self.scores, self.budget, self.beta, self.strata)


def cells_of(plan: Plan, evaluation: EvaluationPlan) -> list[Asked]:
    """Every cell of an evaluation, seed by seed, so that all arms have early results.

    `NOTHING` occurs once and `FULL` once for each of the first `full_seeds` seeds, because equal steps on the
    full data are equal epochs.
    Methods of equal time have no cells of equal steps, because more samples then take no more time.
    """
    cells = [Asked(NOTHING, plan.seed)]
    full = evaluation.seeds if evaluation.full_seeds is None else evaluation.full_seeds
    for seed in range(plan.seed, plan.seed + evaluation.seeds):
        cells += [Asked(FULL, seed)] if seed < plan.seed + full else []
        cells += [
            Asked(
                arm, seed, rate, _scores_read(arm, evaluation), budget, _beta(arm, plan, evaluation),
                _strata(arm, evaluation),
            )
            for rate in evaluation.pruning_rates
            for arm in arms_of(evaluation)
            for budget in BUDGETS[evaluation.budget]
            if not (budget == "steps" and _has_equal_time(arm))
        ]  # fmt: skip
    return cells


def arms_of(evaluation: EvaluationPlan) -> tuple[str, ...]:
    """The methods, then the labels of the other runs."""
    return (*evaluation.methods, *evaluation.also)


def _scores_read(arm: str, evaluation: EvaluationPlan) -> Scores | None:
    if arm in evaluation.also or not METHODS[arm].reads or METHODS[arm].of_run:
        return None
    return "small" if METHODS[arm].of_small else evaluation.baseline_scores


def needs_target_scores(evaluation: EvaluationPlan) -> bool:
    """Whether a method of the evaluation reads the scores of the fine-tuned target."""
    return any(_scores_read(arm, evaluation) == "target" for arm in evaluation.methods)


def _beta(arm: str, plan: Plan, evaluation: EvaluationPlan) -> float | None:
    if arm in evaluation.also or not METHODS[arm].cuts or evaluation.beta == plan.drop_hardest:
        return None
    return evaluation.beta


def _strata(arm: str, evaluation: EvaluationPlan) -> int | None:
    if arm in evaluation.also or not METHODS[arm].stratifies or evaluation.baseline_strata == CCS_STRATA:
        return None
    return evaluation.baseline_strata


def _has_equal_time(arm: str) -> bool:
    return arm in METHODS and METHODS[arm].budget == "time"


def check_arms(evaluation: EvaluationPlan) -> None:
    """Raise PlanError if a method is unknown, or a label is taken, too long, or has no letter or digit."""
    for method in evaluation.methods:
        method_named(method)
    taken = [*RESERVED]
    for label in evaluation.also:
        if not slug(label) or len(label) > LONGEST_LABEL:
            raise PlanError(
                f"label of another run is {label!r}; allowed: up to {LONGEST_LABEL} characters,"
                " including a letter or a digit"
            )
        if slug(label) in taken:
            raise PlanError(
                f"label {label!r} is already used by a method or another run; allowed: any other label"
            )
        taken.append(slug(label))


def label_of(arm: str) -> str:
    """Name of an arm for display."""
    if arm in METHODS:
        return METHODS[arm].label
    return {NOTHING: "nothing (target untouched)", FULL: "full data"}.get(arm, arm)


def slug(text: str) -> str:
    """A text as part of a file name: letters and digits of any script."""
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")


def sha256_of(rows: np.ndarray) -> str:
    """The digest of row ids."""
    return hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest()


def write_cell(folder: Path, cell: Cell) -> None:
    """Write a cell into the folder of an evaluation, atomically."""
    (folder / CELLS_FOLDER).mkdir(exist_ok=True)
    write_checked(_path(folder, cell.asked), cell.model_dump(mode="json"))


def read_cell(folder: Path, asked: Asked) -> Cell | None:
    """The cell of a specification; None if it is missing or damaged."""
    path = _path(folder, asked)
    return next(_read([path]), None) if path.exists() else None


def read_cells(folder: Path) -> list[Cell]:
    """All cells in the folder of an evaluation, including outdated ones but not damaged ones."""
    return list(_read(sorted((folder / CELLS_FOLDER).glob("*.json"))))


def damaged_cells(folder: Path) -> list[str]:
    """The names of the files of cells that cannot be read."""
    paths = sorted((folder / CELLS_FOLDER).glob("*.json"))
    return [path.name for path in paths if next(_read([path]), None) is None]


def _read(paths: list[Path]) -> Iterator[Cell]:
    for path in paths:
        try:
            yield read_model(path, Cell)
        except RunError as error:
            log.warning("a damaged cell is ignored: %s", error)


def _path(folder: Path, asked: Asked) -> Path:
    return folder / CELLS_FOLDER / f"{asked.key}.json"
