"""The stages of every kind of run, in order.

`status.json` and `timings.json` name a stage by its `name`, so a name never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from staff_engine.errors import RunError


@dataclass(frozen=True)
class Stage:
    """A part of a run with its own progress and time.

    Attributes
    ----------
    name
        Its name in the files of a run and on the command line.
    label
        Its name in the app.
    unit
        The unit of its progress.
    """

    name: str
    label: str
    unit: str

    def of(self, what: str) -> Stage:
        """This stage for one of several models: "score" becomes "score llama-nano, untouched"."""
        return replace(self, name=f"{self.name} {what}", label=f"{self.label} {what}")


LIBRARIES = Stage("libraries", "Load the libraries", "libraries")
IMPORT = Stage("import", "Read the data", "rows")
TOKENIZE = Stage("tokenize", "Tokenize the data", "rows")
NUMBER_FORMAT = Stage("number format", "Choose the number format", "trials")
CHECK = Stage("check", "Check the models on two samples", "models")

TAKE_SCORES = Stage("take scores", "Read the scores of the file", "scores")
FINE_TUNE = Stage("fine-tune", "Fine-tune the small model", "steps")
SPECULATE = Stage("speculate", "Score all samples on the small model", "samples")
SPECULATE_ALONE = Stage(
    "speculate without prompt", "Score responses without prompts on the small model", "samples"
)
TRAJECTORIES = Stage("trajectories", "Measure the losses at checkpoints of the small model", "samples")
TRAIN_AGAIN = Stage("train again", "Fine-tune the small model again for its checkpoints", "steps")
TUNE_TARGET = Stage("tune target", "Fine-tune the target on other samples", "steps")
VERIFY = Stage("verify", "Verify samples on the target", "samples")
VERIFY_ALONE = Stage("verify without prompt", "Score responses without prompts on the target", "samples")
SELECT = Stage("select", "Select the coreset", "coreset")
EXPORT = Stage("export", "Write the file", "samples")

SCORE_MODEL = Stage("score", "Score", "samples")
FINE_TUNE_MODEL = Stage("fine-tune", "Fine-tune", "steps")
COMPARE = Stage("compare", "Compare the models", "pairs")

IMPORT_HELD_OUT = Stage("import held-out", "Read the held-out samples", "rows")
FINE_TUNE_TARGET = Stage("fine-tune target", "Fine-tune the target on all samples", "steps")
SCORE_ON_TARGET = Stage("score on target", "Score all samples on the target", "samples")
EVALUATE = Stage("evaluate", "Fine-tune on each coreset and evaluate", "cells")

CORESET = (
    LIBRARIES, IMPORT, TOKENIZE, NUMBER_FORMAT, CHECK, TAKE_SCORES, FINE_TUNE, SPECULATE, SPECULATE_ALONE,
    TRAIN_AGAIN, TRAJECTORIES, TUNE_TARGET, VERIFY, VERIFY_ALONE, SELECT, EXPORT,
)  # fmt: skip
"""Stages of a run that selects a coreset. Choosing the number format, scoring responses without prompts,
losses at checkpoints, training again for them later, tuning the target and writing the file are optional.
The scores of a file take the place of the small model's stages."""

SIMILARITY = (
    LIBRARIES, IMPORT, TOKENIZE, NUMBER_FORMAT, CHECK, SCORE_MODEL, FINE_TUNE_MODEL, COMPARE,
)  # fmt: skip
"""Stages of a run that compares models. Scoring and fine-tuning are repeated per model, by `Stage.of`."""

EVALUATION = (LIBRARIES, IMPORT_HELD_OUT, TOKENIZE, FINE_TUNE_TARGET, SCORE_ON_TARGET, EVALUATE)
"""Stages of a run that evaluates coresets. The target scores all samples only if a method needs it."""

STAFF = (FINE_TUNE, SPECULATE, SPECULATE_ALONE, TUNE_TARGET, VERIFY, VERIFY_ALONE)
"""The cost of STAFF's scores: the stages that scoring everything on the target does not need."""

SMALL_SCORES = (FINE_TUNE, SPECULATE)
"""The stages that produce the small model's scores."""

TARGET_SCORES = (FINE_TUNE_TARGET, SCORE_ON_TARGET)
"""The stages that produce the fine-tuned target's scores of all samples."""

OF_EACH_MODEL = (SCORE_MODEL, FINE_TUNE_MODEL)
"""Stages whose full name includes a model."""

BY_NAME = {stage.name: stage for stage in (*CORESET, *SIMILARITY, *EVALUATION) if stage not in OF_EACH_MODEL}


def stage_of(name: str) -> Stage:
    """Find a stage by its name in a run's files.

    Raises
    ------
    RunError
        If the stage is unknown.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    for stage in OF_EACH_MODEL:
        if name.startswith(f"{stage.name} "):
            return stage.of(name.removeprefix(f"{stage.name} "))
    known = (*BY_NAME, *(f"{stage.name} MODEL" for stage in OF_EACH_MODEL))
    raise RunError(f"unknown stage {name!r}; allowed: {', '.join(known)}")
