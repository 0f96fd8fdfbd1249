"""Estimate the time of an evaluation before it starts, from the speeds of its source run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from staff_engine.evaluation.cells import FULL, NOTHING, Asked, Cell, cells_of, needs_target_scores
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.pipelines.forecast.extrapolation import FORWARD
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.cost import samples_for_selection
from staff_engine.runs.results import Results
from staff_engine.selection.methods import METHODS
from staff_engine.selection.strata import coreset_size

CELL_SECONDS = 1.0
"""Fixed time per cell, mainly for loading the model."""


@dataclass(frozen=True)
class Estimate:
    """The remaining time of an evaluation, in seconds."""

    cells: int
    """Number of cells still to compute."""
    scoring: float
    """Fine-tuning the target and scoring all samples on it, for the methods that read its scores."""
    training: float
    """Fine-tuning in the cells."""
    evaluating: float
    """Held-out losses and answers in the cells."""
    basis: str
    """What the estimate is based on."""

    @property
    def seconds(self) -> float:
        """The sum of all parts."""
        return self.scoring + self.training + self.evaluating


@dataclass(frozen=True)
class Speeds:
    """Seconds of the target: per token in fine-tuning and in scoring, and for evaluating a cell."""

    train_token: float
    score_token: float
    evaluate: float
    basis: str


def estimate(
    plan: Plan, evaluation: EvaluationPlan, source: Results, done: Sequence[Cell] = ()
) -> Estimate | None:
    """Estimate the time of an evaluation; None if the source run has no verified samples to base it on.

    Parameters
    ----------
    source
        The finished run whose coresets are evaluated.
    done
        Finished cells. They are not computed again, and the estimate uses their times.

    Notes
    -----
    Assumptions: the target is slower than the small model by the same factor in fine-tuning as in
    scoring, it generates a token in the time in which it scores one, and held-out samples are as
    long as those of the data.
    """
    speeds = source_speeds(evaluation, source)
    if speeds is None:
        return None
    tokens, samples = _size(source)
    speeds = _refined(speeds, done, tokens / samples * plan.batch_size, plan.processes)
    finished = {cell.asked for cell in done}
    todo = [asked for asked in cells_of(plan, evaluation) if asked not in finished]
    trained = sum(_share(asked, source, samples) for asked in todo) * plan.epochs * tokens
    scores = needs_target_scores(evaluation) and not any(cell.scores == "target" for cell in done)
    return Estimate(
        cells=len(todo),
        scoring=tokens * (plan.epochs * speeds.train_token + speeds.score_token) if scores else 0.0,
        training=trained * speeds.train_token + CELL_SECONDS * len(todo),
        evaluating=len(todo) * speeds.evaluate,
        basis=speeds.basis,
    )


def source_speeds(evaluation: EvaluationPlan, source: Results) -> Speeds | None:
    """The target's speeds, from the times of the source run; None if they are unknown."""
    scores, verification = source.scores, source.verification
    verified = float((verification["prompt_tokens"] + verification["response_tokens"]).sum())
    tokens, samples = _size(source)
    small, target = float(scores["seconds"].sum()), float(verification["seconds"].sum())
    tuning = float(source.timings.get(stages.FINE_TUNE.name, 0))
    if not (verified and small and target and tuning):
        return None
    score_token = target / verified
    train_token = tuning / (source.plan.epochs * tokens) * score_token / (small / tokens)
    prompt = float(scores["prompt_tokens"].mean())
    evaluate = score_token * (
        FORWARD * evaluation.held_out_samples * tokens / samples
        + evaluation.answers * (FORWARD * prompt + evaluation.answer_tokens)
    )
    return Speeds(train_token, score_token, evaluate, f"the speeds of run {source.folder.name}")


def _size(source: Results) -> tuple[float, int]:
    """Number of tokens and samples of the source's data, as its small model reads them."""
    scores = source.scores
    return float((scores["prompt_tokens"] + scores["response_tokens"]).sum()), len(scores)


def _refined(speeds: Speeds, done: Sequence[Cell], tokens_a_step: float, processes: int) -> Speeds:
    """The speeds measured in finished cells, if any of them was trained; processes divide the cells."""
    trained = [cell for cell in done if cell.steps]
    if not trained:
        return speeds
    steps = sum(cell.steps for cell in trained)
    seconds = sum(max(cell.seconds["train"] - CELL_SECONDS, 0.0) for cell in trained)
    return replace(
        speeds,
        train_token=seconds / (steps * tokens_a_step) / processes,
        evaluate=statistics.mean(cell.seconds["evaluate"] for cell in done) / processes,
        basis=f"{len(done):,} finished cells",
    )


def _share(asked: Asked, source: Results, samples: int) -> float:
    """Training of a cell as a share of fine-tuning on the full data."""
    if asked.arm == NOTHING:
        return 0.0
    if asked.arm == FULL or asked.budget == "steps" or asked.pruning_rate is None:
        return 1.0
    size = coreset_size(samples, asked.pruning_rate)
    if asked.arm in METHODS and METHODS[asked.arm].budget == "time":
        size += samples_for_selection(source, pruning_rate=asked.pruning_rate)
    return min(1.0, size / samples)
