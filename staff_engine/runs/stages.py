"""The stages of every kind of run, in the order in which a run goes through them.

`status.json` and `timings.json` name a stage by its `name`, so a name never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from staff_engine.errors import RunError


@dataclass(frozen=True)
class Stage:
    """A part of a run that has its own progress and its own time.

    Attributes
    ----------
    name
        What the files of a run and the command line call it.
    label
        What the app calls it.
    unit
        What its progress is counted in.
    """

    name: str
    label: str
    unit: str

    def of(self, what: str) -> Stage:
        """This stage for one of several models: "score" becomes "score llama-nano, untouched"."""
        return replace(self, name=f"{self.name} {what}", label=f"{self.label} {what}")


IMPORT = Stage("import", "Read the data", "rows")
TOKENIZE = Stage("tokenize", "Cut into tokens", "rows")

FINE_TUNE = Stage("fine-tune", "Fine-tune the small model", "steps")
SPECULATE = Stage("speculate", "Small model scores all samples", "samples")
TUNE_TARGET = Stage("tune target", "Fine-tune the target on a few others", "steps")
VERIFY = Stage("verify", "Target verifies a few", "samples")
SELECT = Stage("select", "Select the coreset", "coreset")
EXPORT = Stage("export", "Write the file", "samples")

SCORE_MODEL = Stage("score", "Score", "samples")
FINE_TUNE_MODEL = Stage("fine-tune", "Fine-tune", "steps")
COMPARE = Stage("compare", "Compare the models", "pairs")

IMPORT_HELD_OUT = Stage("import held-out", "Read the held-out samples", "rows")
FINE_TUNE_TARGET = Stage("fine-tune target", "Fine-tune the target on all samples", "steps")
SCORE_ON_TARGET = Stage("score on target", "Score all samples on the target", "samples")
EVALUATE = Stage("evaluate", "Fine-tune on each coreset and evaluate", "cells")

CORESET = (IMPORT, TOKENIZE, FINE_TUNE, SPECULATE, TUNE_TARGET, VERIFY, SELECT, EXPORT)
"""Of a run that selects a coreset; the target is tuned and the file is written only where that is asked."""

SIMILARITY = (IMPORT, TOKENIZE, SCORE_MODEL, FINE_TUNE_MODEL, COMPARE)
"""Of a run that compares models. Scoring and fine-tuning come again for each model, by `Stage.of`."""

EVALUATION = (IMPORT_HELD_OUT, TOKENIZE, FINE_TUNE_TARGET, SCORE_ON_TARGET, EVALUATE)
"""Of a run that evaluates coresets; the target scores all samples only where a method needs that."""

STAFF = (FINE_TUNE, SPECULATE, TUNE_TARGET, VERIFY)
"""What STAFF's scores cost: the stages that scoring everything on the target does without."""

SMALL_SCORES = (FINE_TUNE, SPECULATE)
"""The stages that give the small model's scores."""

TARGET_SCORES = (FINE_TUNE_TARGET, SCORE_ON_TARGET)
"""The stages that give the fine-tuned target's scores of all samples."""

OF_EACH_MODEL = (SCORE_MODEL, FINE_TUNE_MODEL)
"""Stages that are named with a model; all others stand for themselves."""

BY_NAME = {stage.name: stage for stage in (*CORESET, *SIMILARITY, *EVALUATION) if stage not in OF_EACH_MODEL}


def stage_of(name: str) -> Stage:
    """Find the stage that a run's files name.

    Raises
    ------
    RunError
        If no kind of run has such a stage.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    for stage in OF_EACH_MODEL:
        if name.startswith(f"{stage.name} "):
            return stage.of(name.removeprefix(f"{stage.name} "))
    known = (*BY_NAME, *(f"{stage.name} MODEL" for stage in OF_EACH_MODEL))
    raise RunError(f"unknown stage {name!r}; the stages are {', '.join(known)}")
