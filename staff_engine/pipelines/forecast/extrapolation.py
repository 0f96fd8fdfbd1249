"""Extrapolate a few measured batches to a whole run: tokens, seconds of each stage, memory.

No model is needed. So the forecast updates immediately if the epochs or the selection settings
change. Only other data, models or batches are measured again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from staff_engine.models.finetune import count_steps, save_steps
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.stages import Stage
from staff_engine.scoring.scorer import plan_batches
from staff_engine.selection.ratios.rules import samples_to_verify
from staff_engine.selection.strata import coreset_size, count_dropped
from staff_engine.selection.tuning import draw_tuning
from staff_engine.selection.verification import draw_verification

MOST_SIMULATED = 100_000
"""Maximum samples whose batches are planned one by one; the cost of more is scaled up."""

FORWARD = 1 / 3
"""Time of a forward pass as a share of a forward and a backward pass."""

FEWEST = 5
"""Minimum batches to fit more than seconds per token."""

SMOOTHING = 0.53
"""Kernel width / (spread of log scores · n^(-1/5)): half of Silverman's width, to keep tails thin."""


MUCH, LITTLE = 0.5, 0.2
"""Shares of the samples: verifying more than the first saves little; the second is recommended."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Speed(_Frozen):
    """Seconds of a batch of n samples padded to length t: batch + token·n·t + pair·n·t²."""

    batch: float
    token: float
    pair: float  # attention: every token reads those before it

    def seconds(self, batches: np.ndarray) -> float:
        """Total seconds of some batches, int (k, 2): samples and padded length of each."""
        return float((_terms(batches) @ [self.batch, self.token, self.pair]).sum())


class Side(_Frozen):
    """The measurements of one of the two models."""

    load: float  # seconds until it can score
    scoring: Speed
    tokenize_row: float  # seconds
    lengths: tuple[int, ...]  # tokens of each row that was read, 0 if unscorable
    alone: Speed | None = None  # of responses without their prompts, if the plan scores them
    responses: tuple[int, ...] = ()  # their tokens, with the one before them, by row; 0 if unscorable


class Training(_Frozen):
    """The measurements of the fine-tuning of one of the two models."""

    start: float  # seconds before the first step
    step: Speed
    checkpoint: float  # seconds


class Measured(_Frozen):
    """The measurements of a few rows and batches of a plan."""

    rows: int  # of the data set, up to the limit
    small: Side
    target: Side
    start: dict[str, float]  # seconds of each stage up to the check that do not depend on the rows
    import_row: float  # seconds
    finetuning: Training
    tuning: Training | None = None  # of the target, if the plan tunes it
    scored: tuple[int, ...]  # indices of the rows that the small model scored
    efforts: tuple[float, ...]  # their efforts
    memory_bytes: int


class Forecast(_Frozen):
    """The estimated cost of a run.

    Attributes
    ----------
    state, message
        "measuring" with the current step, "done", or "failed" with the reason.
    samples, tokens
        Scorable samples, and all their tokens by the small model's tokenizer.
    stages
        Seconds of import, tokenize, fine-tune, speculate, tune target (if the plan tunes the
        target), verify, and scoring responses without prompts on both models (if the plan does).
    verified, verified_at_most
        Expected and maximum number of samples that the target scores. The maximum is b_v in
        each of K strata, or all samples except the dropped hardest ones.
    full_target_seconds
        Seconds for scoring every sample on the loaded target.
    share_saved
        1 − (fine-tune + speculate + tune target + verify) / full_target_seconds. Below 0 if
        STAFF takes longer. Import and tokenizing are needed in both cases. Fine-tuning the
        target on all samples, which such scores would need, is not counted.
    memory_bytes
        Peak memory of the models' device: graphics memory, or the memory of the process. With several
        processes, each needs it.
    """

    state: Literal["measuring", "done", "failed"]
    message: str = ""
    samples: int | None = None
    tokens: int | None = None
    stages: dict[str, float] = {}
    total_seconds: float | None = None
    verified: int | None = None
    verified_at_most: int | None = None
    full_target_seconds: float | None = None
    share_saved: float | None = None
    memory_bytes: int | None = None


def advice(plan: Plan, forecast: Forecast) -> str:
    """Why a finished forecast saves little or nothing, and what helps; "" if it saves enough."""
    if not forecast.samples or forecast.verified_at_most is None:
        return ""
    if forecast.verified_at_most > MUCH * forecast.samples:
        strata = max(1, int(LITTLE * forecast.samples / max(plan.verify_per_stratum, 1)))
        return (
            "The target would verify more than half of the samples, which saves little."
            f" With {strata} strata (K), or fewer verified samples in each, it would verify a fifth."
        )
    if forecast.share_saved is not None and forecast.share_saved <= 0:
        return (
            f"This takes {1 - forecast.share_saved:.1f} times as long as scoring everything on the target."
            " Fewer epochs or a smaller small model help. With a larger target, the same plan saves more."
        )
    return ""


def fit_speed(batches: np.ndarray, seconds: Sequence[float] | np.ndarray) -> Speed:
    """Fit the time of a batch, by the least sum of relative errors, which is robust to outliers.

    Parameters
    ----------
    batches
        int (k, 2): samples and padded length of each measured batch, at least one.
    seconds
        float (k,): seconds of each, above 0.
    """
    relative = _terms(batches) / np.asarray(seconds)[:, None]
    if len(relative) < FEWEST:
        return Speed(batch=0.0, token=float(1 / np.median(relative[:, 1])), pair=0.0)
    best = (np.inf, np.zeros(3))
    for used in itertools.chain.from_iterable(itertools.combinations(range(3), n) for n in (1, 2, 3)):
        factors = _least_absolute(relative[:, used])
        if (factors >= 0).all():
            error = float(np.abs(relative[:, used] @ factors - 1).sum())
            if error < best[0]:
                best = (error, np.zeros(3))
                best[1][list(used)] = factors
    batch, token, pair = best[1].tolist()
    return Speed(batch=batch, token=token, pair=pair)


def _terms(batches: np.ndarray) -> np.ndarray:
    """float (k, 3): the terms that the factors of a `Speed` are multiplied by."""
    samples, length = np.asarray(batches, dtype=float).T
    return np.stack([np.ones(len(samples)), samples * length, samples * length**2], axis=1)


def _least_absolute(terms: np.ndarray) -> np.ndarray:
    """The factors with the least sum of |terms @ factors − 1|, by iteratively reweighted least squares."""
    scale = terms.max(axis=0)
    weights = np.ones(len(terms))
    for _ in range(30):
        root = np.sqrt(weights)
        factors = np.linalg.lstsq(terms / scale * root[:, None], root, rcond=None)[0]
        weights = 1 / np.maximum(np.abs(terms / scale @ factors - 1), 1e-4)
    return factors / scale


def extrapolate(plan: Plan, measured: Measured) -> Forecast:
    """Forecast a run of a plan from its measurements.

    Parameters
    ----------
    plan
        Its epochs, selection settings and number of samples to tune the target on can differ
        from the measured plan. Data, models, batches and whether the target is tuned must
        be the same.
    """
    lengths = np.array(measured.small.lengths)
    usable = lengths > 0
    samples = round(measured.rows * float(usable.mean()))
    drawn, tuned = _drawn(plan, measured, samples)
    full = _scoring_seconds(plan, measured.target, np.flatnonzero(usable), samples)
    per_row = {stages.IMPORT: measured.import_row, stages.TOKENIZE: measured.small.tokenize_row}
    before = (stages.LIBRARIES, stages.IMPORT, stages.TOKENIZE, stages.NUMBER_FORMAT)
    seconds = {
        **{
            stage.name: measured.start[stage.name] + measured.rows * per_row.get(stage, 0.0)
            for stage in before
            if stage.name in measured.start
        },
        stages.CHECK.name: measured.small.load + measured.target.load,
        stages.FINE_TUNE.name: _training_seconds(plan, measured.finetuning, lengths[usable], samples),
        stages.SPECULATE.name: measured.small.load
        + _scoring_seconds(plan, measured.small, np.flatnonzero(usable), samples),
        **_alone_stage(plan, stages.SPECULATE_ALONE, measured.small, np.flatnonzero(usable), samples),
        **_trajectory_stage(plan, measured, np.flatnonzero(usable), samples),
        **_tuning_stage(plan, measured, tuned),
        stages.VERIFY.name: _verifying_seconds(plan, measured.target, drawn),
        **_alone_stage(plan, stages.VERIFY_ALONE, measured.target, drawn, len(drawn)),
    }
    dropped = count_dropped(samples, plan.drop_hardest, keep=coreset_size(samples, plan.pruning_rate))
    return Forecast(
        state="done",
        samples=samples,
        tokens=round(samples * float(lengths[usable].mean())),
        stages=seconds,
        total_seconds=sum(seconds.values()),
        verified=len(drawn),
        verified_at_most=min(
            plan.strata * samples_to_verify(plan.ratio, plan.verify_per_stratum), samples - dropped
        ),
        full_target_seconds=full,
        share_saved=1 - sum(seconds.get(stage.name, 0.0) for stage in stages.STAFF) / full,
        memory_bytes=measured.memory_bytes,
    )


def plan_steps(lengths: np.ndarray, batch_size: int, seed: int = 0) -> np.ndarray:
    """Samples and padded length, int (k, 2), of the steps of an epoch, as `finetune` groups them."""
    order = np.random.default_rng(seed).permutation(len(lengths))
    group = batch_size * max(1, min(len(lengths) // (batch_size * 4), 50))
    grouped = [np.sort(lengths[order[start : start + group]])[::-1] for start in range(0, len(order), group)]
    ordered = np.concatenate(grouped)
    starts = np.arange(0, len(ordered), batch_size)
    samples = np.minimum(batch_size, len(ordered) - starts)
    return np.stack([samples, np.maximum.reduceat(ordered, starts)], axis=1)


def shapes(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> np.ndarray:
    """Samples and padded length, int (k, 2), of batches given by the indices of their samples."""
    return np.array([(len(batch), lengths[batch].max()) for batch in batches])


def _training_seconds(plan: Plan, training: Training, lengths: np.ndarray, samples: int) -> float:
    """Seconds for loading a model and fine-tuning it on this number of samples with these lengths."""
    simulated = min(samples, MOST_SIMULATED)
    steps = plan_steps(np.resize(lengths, simulated), plan.batch_size)
    steps[:, 0] = -(-steps[:, 0] // plan.processes)  # each process does its part of a step
    epoch = training.step.seconds(steps) * samples / simulated
    count = count_steps(samples, epochs=plan.epochs, batch_size=plan.batch_size)
    checkpoints = count // save_steps(count) + 1  # and the last
    return training.start + plan.epochs * epoch + checkpoints * training.checkpoint


def _trajectory_stage(plan: Plan, measured: Measured, indices: np.ndarray, samples: int) -> dict[str, float]:
    """Loading each checkpoint except the last, and a forward pass over all samples."""
    if not plan.checkpoints:
        return {}
    each = measured.small.load + FORWARD * _scoring_seconds(plan, measured.small, indices, samples)
    return {stages.TRAJECTORIES.name: (plan.checkpoints - 1) * each}


def _tuning_stage(plan: Plan, measured: Measured, tuned: np.ndarray) -> dict[str, float]:
    if not plan.tune_target or measured.tuning is None:
        return {}
    if not len(tuned):
        return {stages.TUNE_TARGET.name: 0.0}  # no samples are left to tune it on: it is not loaded
    tokenizing = len(tuned) * measured.target.tokenize_row
    lengths = np.array(measured.target.lengths)[tuned]
    training = _training_seconds(plan, measured.tuning, lengths, len(tuned))
    return {stages.TUNE_TARGET.name: tokenizing + training}


def _alone_stage(plan: Plan, stage: Stage, side: Side, indices: np.ndarray, samples: int) -> dict[str, float]:
    """Seconds for loading a model and scoring responses without prompts; empty if the plan does not."""
    if not plan.scores_alone or side.alone is None:
        return {}
    seconds = _seconds_of_batches(plan, side.alone, np.array(side.responses), indices, samples)
    return {stage.name: side.load + seconds if samples else 0.0}


def _scoring_seconds(plan: Plan, side: Side, indices: np.ndarray, samples: int) -> float:
    """Seconds for scoring this number of samples, similar to those at the indices, on a loaded model."""
    return _seconds_of_batches(plan, side.scoring, np.array(side.lengths), indices, samples)


def _seconds_of_batches(
    plan: Plan, speed: Speed, lengths: np.ndarray, indices: np.ndarray, samples: int
) -> float:
    if not samples or not len(indices):
        return 0.0
    simulated = min(samples, MOST_SIMULATED)
    chosen = lengths[np.resize(indices, simulated)]
    batches = plan_batches(chosen, tokens=plan.tokens_per_batch)
    spread = min(plan.processes, max(1, round(len(batches) * samples / simulated)))
    return speed.seconds(shapes(chosen, batches)) * samples / simulated / spread


def _verifying_seconds(plan: Plan, target: Side, drawn: np.ndarray) -> float:
    if not len(drawn):
        return 0.0  # the target is not loaded
    scoring = _scoring_seconds(plan, target, drawn, len(drawn))
    return target.load + len(drawn) * target.tokenize_row + scoring


def _drawn(plan: Plan, measured: Measured, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of rows that represent those to be verified, and those to tune the target on.

    Their number depends on how many strata are full. So they are drawn from simulated scores
    of all samples, each near one of those measured.
    """
    rng = np.random.default_rng(plan.seed)
    efforts = np.array(measured.efforts)
    logs = np.log(np.maximum(efforts, min(efforts[efforts > 0], default=1.0)))
    chosen = rng.integers(len(logs), size=min(samples, MOST_SIMULATED))
    width = SMOOTHING * logs.std() * len(logs) ** -0.2
    simulated = np.exp(logs[chosen] + width * rng.standard_normal(len(chosen)))
    settings: dict[str, Any] = {
        "num_strata": plan.strata,
        "strata_by": plan.strata_by,
        "drop_hardest": plan.drop_hardest,
        "pruning_rate": plan.pruning_rate,
        "seed": plan.seed,
    }
    per_stratum = samples_to_verify(plan.ratio, plan.verify_per_stratum)
    drawn = draw_verification(simulated, per_stratum=per_stratum, **settings)
    tuned = draw_tuning(simulated, count=plan.tune_target, apart_from=drawn, **settings)
    indices = np.array(measured.scored)[chosen]
    return indices[drawn], indices[tuned]
