"""The cost of a run: compared with scoring everything on the target, and with what its coreset saves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from staff_engine.errors import RunError
from staff_engine.runs import stages
from staff_engine.runs.results import Results
from staff_engine.runs.summary import Summary
from staff_engine.runs.verification.drawing import count_verified
from staff_engine.system.words import duration


@dataclass(frozen=True)
class Cost:
    """Seconds of a run's models, and of the target over all samples.

    Attributes
    ----------
    staff
        The time of the run: fine-tuning, scoring, verifying, and tuning the target if it did.
    full
        The time for scoring everything on the untouched target; None if it scored nothing.
    training
        The time for fine-tuning the target on everything before that, as methods that score
        on the target do; None if it cannot be estimated.
    """

    staff: float
    full: float | None
    training: float | None = None

    @property
    def saved(self) -> float | None:
        """Share of `full` that was saved; below 0 if STAFF took longer, None if unknown."""
        return 1 - self.staff / self.full if self.full else None

    @property
    def overhead(self) -> float | None:
        """The time of the run as a share of `training` and `full`: the paper's selection overhead."""
        return self.staff / (self.training + self.full) if self.training and self.full else None


def run_cost(summary: Summary, timings: Mapping[str, float]) -> Cost:
    """The time of a finished run, and the estimates to compare it with.

    The target's time over all samples is its measured seconds per token, times all tokens.
    The ratio of fine-tuning time to scoring time is assumed to be that of the small model.
    The target's fine-tuning is not measured at all, so this is the rougher estimate.

    Parameters
    ----------
    summary, timings
        The run's figures, and the seconds of its stages.
    """
    full, scoring = summary.full_target_seconds_estimate, summary.small_scoring_seconds
    return Cost(
        staff=sum(timings.get(stage.name, 0.0) for stage in stages.STAFF),
        full=full,
        training=timings.get(stages.FINE_TUNE.name, 0.0) / scoring * full if scoring and full else None,
    )


def small_seconds(results: Results) -> float:
    """Seconds in which a run made the small model's scores: its fine-tuning and the scoring."""
    return sum(results.timings.get(stage.name, 0.0) for stage in stages.SMALL_SCORES)


def selection_seconds(results: Results, **settings: Any) -> float:
    """Seconds of a run's models that a selection with these settings needs.

    The small model's scores, and the verification of the samples that these settings draw. A run can
    have verified more, for other settings. If the target is tuned, that is included.

    Parameters
    ----------
    **settings
        Selection settings, as in `Results.select`.
    """
    needed, verified = count_verified(results, **settings), len(results.verified_ids)
    if not needed or not verified:
        return small_seconds(results)
    tuning = results.timings.get(stages.TUNE_TARGET.name, 0.0)
    verifying = results.timings.get(stages.VERIFY.name, 0.0) * (needed / verified)
    return small_seconds(results) + tuning + verifying


@dataclass(frozen=True)
class Price:
    """Seconds that a selection took, and that fine-tuning the target takes.

    Attributes
    ----------
    selection
        The time of the run: fine-tuning, scoring and verifying.
    coreset, everything
        The time of one fine-tuning of the target on the coreset and on all samples, estimated from
        measured speeds; None if unknown.
    """

    selection: float
    coreset: float | None
    everything: float | None

    @property
    def pays_from(self) -> int | None:
        """The fewest fine-tunings on the coreset that, with the selection, take less time than as many on
        everything; None if there is no such number or it is unknown."""
        if self.coreset is None or self.everything is None or self.everything <= self.coreset:
            return None
        return math.floor(self.selection / (self.everything - self.coreset)) + 1

    @property
    def sentence(self) -> str:
        """The price in words, also compared with a random coreset."""
        took = f"Selection took {duration(self.selection)}."
        random = (
            "A random coreset takes as long to train on and costs nothing to select, so the selection is"
            " worth its time only if this coreset trains better."
        )
        if self.coreset is None or self.everything is None:
            return (
                f"{took} The time to fine-tune the target is unknown, because it scored no sample. {random}"
            )
        tuning = (
            f"One fine-tuning of the target takes about {duration(self.coreset)} on this coreset and"
            f" {duration(self.everything)} on everything (estimated from measured speeds)."
        )
        return f"{took} {tuning} Beside training on everything, the selection {self.pays}. {random}"

    @property
    def line(self) -> str:
        """The price in one line, for the terminal."""
        if self.coreset is None or self.everything is None:
            return f"Selection took {duration(self.selection)}; the time to fine-tune the target is unknown."
        return (
            f"Selection took {duration(self.selection)}; it {self.pays} (each about"
            f" {duration(self.coreset)} on the coreset, {duration(self.everything)} on everything)."
        )

    @property
    def pays(self) -> str:
        """From how many fine-tunings on the coreset the selection saves time: "pays off from 3 …"."""
        match self.pays_from:
            case None:
                return "never pays off"
            case 1:
                return "pays off from the first fine-tuning on"
            case count:
                return f"pays off from {count:,} fine-tunings on"


def price(cost: Cost, token_share: float) -> Price:
    """What a coreset cost to select, and what fine-tuning on it takes.

    The time of a fine-tuning is in proportion to the tokens. On all samples it is `cost.training`.

    Parameters
    ----------
    token_share
        The coreset's share of all tokens of prompts and responses, 0 to 1.
    """
    return Price(cost.staff, None if cost.training is None else token_share * cost.training, cost.training)


def token_share(results: Results, indices: np.ndarray) -> float:
    """The share of all tokens of prompts and responses that some rows have, 0 to 1.

    Parameters
    ----------
    indices : int64 (m,)
        Row ids of a coreset.
    """
    return float(results.tokens[indices].sum() / np.nansum(results.tokens))


def samples_for_selection(results: Results, **settings: Any) -> int:
    """Number of samples on which the target could train in the time that a selection takes.

    The time of `selection_seconds`, divided by the time for fine-tuning the target on one sample for
    the plan's epochs, as `run_cost` estimates it.

    Raises
    ------
    RunError
        If the run's times do not give the target's speed, because nothing is verified.
    """
    training, samples = run_cost(results.summary, results.timings).training, results.summary.samples
    if not training:
        raise RunError(
            f"run {results.folder.name} has not verified samples, so the target's speed is unknown; allowed:"
            " a run with verify_per_stratum of 1 or more"
        )
    return round(selection_seconds(results, **settings) / (training / samples))


def column_seconds(results: Results, column: str) -> float:
    """Seconds in which a run made a column that only some baselines read, including the small model's.

    - trajectories: the small model's fine-tuning, and a forward pass at each checkpoint. The losses of the
      last checkpoint are part of the scores. Their time is taken to be that of another checkpoint, or of
      scoring if there is no other.
    - ifd: the small model's scores, and the losses without prompts.
    - clean: none; the data says it.
    """
    match column:
        case "trajectories":
            others = results.trajectories.shape[1] - 1
            if others < 1:
                return small_seconds(results)
            tuning = results.timings.get(stages.FINE_TUNE.name, 0.0)
            return tuning + results.timings.get(stages.TRAJECTORIES.name, 0.0) * (others + 1) / others
        case "ifd":
            return small_seconds(results) + results.timings.get(stages.SPECULATE_ALONE.name, 0.0)
        case "clean":
            return 0.0
        case _:
            raise ValueError(f"column is {column!r}; allowed: trajectories, ifd, clean")
