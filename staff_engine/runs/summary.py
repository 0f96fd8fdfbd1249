"""The figures of a run: the content of summary.json and of timings.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, RootModel

from staff_engine.errors import RunError
from staff_engine.runs.composition import Lengths
from staff_engine.runs.folders import SUMMARY_FILE
from staff_engine.runs.progress import TIMINGS_FILE
from staff_engine.runs.status import ACTIVE, load_status
from staff_engine.system.files import read_model, write_checked


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class SummaryTrust(_Frozen):
    """How reliable the small model is, and the agreement that the rating rests on."""

    word: Literal["high", "fair", "low"]
    sentence: str
    advice: tuple[str, ...] = ()
    samples: int | None = None
    """Samples that both models have scored."""
    spearman: float | None = None
    """Rank correlation of their scores; None if there are too few."""
    low: float | None = None
    high: float | None = None
    partial: float | None = None
    """The same with response length held."""
    partial_low: float | None = None
    partial_high: float | None = None


class Summary(_Frozen):
    """The results and costs of a run; frozen.

    Unless stated otherwise, None means that the version that made the run did not store the field.
    """

    rows: int | None = None
    """Rows of the imported data."""
    samples: int
    """Scorable samples."""
    unscorable: int
    strata: int
    strata_served: int
    """Strata with samples in the coreset."""
    tuned: int | None = None
    """Samples that the target was fine-tuned on."""
    near_duplicates: int | None = None
    """Near duplicates that are left out."""
    verified: int
    to_verify: int
    """Samples that must still be verified for the plan's settings."""
    coreset_size: int
    response_tokens: Lengths | None = None
    """Response lengths of the coreset and of the data."""
    token_share: float | None = None
    """The coreset's share of all tokens of prompts and responses."""
    small_scoring_seconds: float | None = None
    verify_seconds_per_sample: float = 0.0
    full_target_seconds_estimate: float | None = None
    """Seconds for scoring every sample on the target; None if it scored none."""
    warnings: tuple[str, ...] = ()
    trust: SummaryTrust | None = None
    dtype: str | None = None
    """The number format of the models."""
    dtype_chosen: str | None = None
    """A sentence with the reason for the choice; None if the plan sets it."""

    def as_json(self) -> dict[str, Any]:
        """The given fields as a JSON-compatible dict: a run keeps the keys that it was made with."""
        return self.model_dump(mode="json", exclude_unset=True)


class _Timings(RootModel[dict[str, float]]):
    """The content of timings.json."""


def save_summary(folder: Path, summary: Summary) -> None:
    """Write the summary of a run. A run with a summary has all its scores."""
    write_checked(folder / SUMMARY_FILE, summary.as_json())


def load_summary(folder: Path) -> Summary:
    """Read the summary of a run. Raises RunError if the run has not finished, or the file is damaged."""
    return read_model(_existing(folder / SUMMARY_FILE, "the run has not finished"), Summary)


def load_timings(folder: Path) -> dict[str, float]:
    """Read the seconds of each stage.

    If timings.json is missing or damaged, they come from status.json.

    Raises
    ------
    RunError
        Before the first stage ends, or if neither can be read.
    """
    try:
        return read_model(_existing(folder / TIMINGS_FILE, "no stage of the run has finished"), _Timings).root
    except RunError:
        status = load_status(folder)
        if status.state in ACTIVE or not status.stages:
            raise
        return {stage.name: stage.seconds for stage in status.stages}


def _existing(path: Path, missing: str) -> Path:
    if not path.exists():
        raise RunError(f"{path.parent} has no {path.name}: {missing}")
    return path
