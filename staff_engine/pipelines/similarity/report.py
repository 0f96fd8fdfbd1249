"""The results of a similarity run: every model's scores of the same samples, and their similarity."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from staff_engine.errors import RunError
from staff_engine.models.sources import short_name
from staff_engine.pipelines.similarity.measures import Estimate, Likeness
from staff_engine.plan import Plan
from staff_engine.runs.folders import Run, read_record
from staff_engine.runs.integrity.check import check_files
from staff_engine.runs.kinds import KINDS
from staff_engine.selection.trust import Trust
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.arrow import read_table
from staff_engine.system.files import read_model

if TYPE_CHECKING:
    import pandas as pd

REPORT_FILE = "similarity.json"
SCORES_FILE = "similarity.parquet"

Role = Literal["small", "target"]
Score = Literal["effort, all", "effort, last_block", "loss"]
"""Effort by the scored parameters, or the loss, which does not depend on them."""

SCORES: tuple[Score, ...] = ("effort, all", "effort, last_block", "loss")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Reading(_Frozen):
    """One model in one state, which scored all samples."""

    model: str
    role: Role
    tuned_on: int
    """Samples that it was fine-tuned on; 0 if it is untouched."""

    @property
    def words(self) -> str:
        """Its name and state, for display."""
        return f"{short_name(self.model)}, {'fine-tuned' if self.tuned_on else 'untouched'}"


class Pair(_Frozen):
    """A target and a small model to use for it."""

    target: Reading
    small: Reading
    score: Score
    likeness: Likeness


class Ranks(_Frozen):
    """The rank correlation of one score between two readings."""

    first: Reading
    second: Reading
    score: Score
    correlation: Estimate
    held: Estimate | None = None
    """The correlation with response length held constant; None in runs of older versions."""


class Length(_Frozen):
    """The rank correlation of a reading's score with the response length in tokens."""

    reading: Reading
    score: Score
    correlation: Estimate


class Verdict(_Frozen):
    """The rating of a small model as a stand-in for a target, by the thresholds of every run."""

    target: Reading
    small: Reading
    score: Score
    trust: Trust


class Report(_Frozen):
    """All results of a similarity run."""

    samples: int
    """Number of drawn samples; each model has scored those that it can read."""
    strata: int
    readings: tuple[Reading, ...]
    pairs: tuple[Pair, ...]
    ranks: tuple[Ranks, ...]
    lengths: tuple[Length, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def length_held(self) -> bool:
        """Whether the correlations with response length held were measured; not in older versions."""
        return all(each.held is not None for each in self.ranks)

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON-compatible dict; NaN becomes None."""
        return json.loads(self.model_dump_json())


@dataclass(frozen=True)
class Similarity:
    """A similarity run's folder, as `open_similarity` returns it."""

    folder: Path
    plan: Plan
    compared: SimilarityPlan

    @cached_property
    def report(self) -> Report:
        """The results. Raises RunError before the run has finished."""
        return read_model(self.folder / REPORT_FILE, Report)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row for each reading and sample.

        Columns: reading (its index in `report.readings`), row_id, response_tokens, loss, and effort
        by all parameters and by the last block's (NaN if the model could not score the sample).
        """
        check_files(self.folder, SCORES_FILE)
        return read_table(self.folder / SCORES_FILE).to_pandas()


def read_report(folder: Path) -> Report | None:
    """Read the results of a similarity run; None for other runs, and before it is done."""
    return read_model(folder / REPORT_FILE, Report) if (folder / REPORT_FILE).exists() else None


def open_similarity(folder: Path) -> Similarity:
    """Open a similarity run's folder. Raises RunError if it is another kind of run."""
    record = read_record(Run(folder.name, folder))
    if record.similarity is None:
        raise RunError(f"run {folder.name} {KINDS[record.kind].does}; it does not compare models")
    return Similarity(folder, record.plan, record.similarity)
