"""What a similarity run left: every model's scores of the same samples, and how alike they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from staff_engine.errors import RunError
from staff_engine.models.loading import short_name
from staff_engine.pipelines.similarity.measures import Estimate, Likeness
from staff_engine.plan import Plan, SimilarityPlan
from staff_engine.runs.folders import PLAN_FILE, RunRecord
from staff_engine.runs.kinds import KINDS
from staff_engine.selection.trust import Trust
from staff_engine.system.arrow import read_table
from staff_engine.system.files import read_model

if TYPE_CHECKING:
    import pandas as pd

REPORT_FILE = "similarity.json"
SCORES_FILE = "similarity.parquet"

Role = Literal["small", "target"]
Score = Literal["effort, all", "effort, last_block", "loss"]
"""Effort by the parameters whose gradient it is, or the loss, which knows no parameters."""

SCORES: tuple[Score, ...] = ("effort, all", "effort, last_block", "loss")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Reading(_Frozen):
    """One model in one state: what all samples were scored by."""

    model: str
    role: Role
    tuned_on: int
    """Samples that it was fine-tuned on; 0 if it is untouched."""

    @property
    def words(self) -> str:
        """Its name and state, as people are shown it."""
        return f"{short_name(self.model)}, {'fine-tuned' if self.tuned_on else 'untouched'}"


class Pair(_Frozen):
    """A target beside a small model that may speak for it."""

    target: Reading
    small: Reading
    score: Score
    likeness: Likeness


class Ranks(_Frozen):
    """The rank correlation of two readings by one score."""

    first: Reading
    second: Reading
    score: Score
    correlation: Estimate


class Length(_Frozen):
    """The rank correlation of a reading's score with the response length in its tokens."""

    reading: Reading
    score: Score
    correlation: Estimate


class Verdict(_Frozen):
    """Whether a small model may speak for a target, judged as every run judges it."""

    target: Reading
    small: Reading
    score: Score
    trust: Trust


class Report(_Frozen):
    """Everything that a similarity run found."""

    samples: int
    """Samples that were drawn; each model has scored those that it can read."""
    strata: int
    readings: tuple[Reading, ...]
    pairs: tuple[Pair, ...]
    ranks: tuple[Ranks, ...]
    lengths: tuple[Length, ...]
    verdicts: tuple[Verdict, ...]

    def as_json(self) -> dict[str, Any]:
        """What JSON can say of it: null for NaN."""
        return json.loads(self.model_dump_json())


@dataclass(frozen=True)
class Similarity:
    """A similarity run's folder; `open_similarity` makes it."""

    folder: Path
    plan: Plan
    compared: SimilarityPlan

    @cached_property
    def report(self) -> Report:
        """What was found. Raises RunError while the run is not finished."""
        return read_model(self.folder / REPORT_FILE, Report)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row for each reading and sample.

        reading (its place in `report.readings`), row_id, response_tokens, loss, and effort by
        all parameters and by the last block's (NaN where the model could not score it).
        """
        return read_table(self.folder / SCORES_FILE).to_pandas()


def read_report(folder: Path) -> Report | None:
    """What a similarity run found; None for other runs, and before it is done."""
    return read_model(folder / REPORT_FILE, Report) if (folder / REPORT_FILE).exists() else None


def open_similarity(folder: Path) -> Similarity:
    """Open a similarity run's folder. Raises RunError if it is none."""
    record = read_model(folder / PLAN_FILE, RunRecord)
    if record.similarity is None:
        raise RunError(f"run {folder.name} {KINDS[record.kind].does}; it compares no models")
    return Similarity(folder, record.plan, record.similarity)
