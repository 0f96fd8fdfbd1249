"""Compute a cell of an evaluation: fine-tune the target on some rows, evaluate it on held-out samples."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from staff_engine.data.tokens import TokenTable
from staff_engine.evaluation.cells import Asked, Cell, sha256_of
from staff_engine.evaluation.held_out import HeldOut
from staff_engine.evaluation.judging import generate_answers, held_out_losses, last_prompt
from staff_engine.evaluation.metrics import Metric, score_answers
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.models import loading
from staff_engine.models.finetune import count_steps, order_of_steps, train, training_order
from staff_engine.pipelines.adapted import fresh_lora
from staff_engine.pipelines.helping import Reporter
from staff_engine.pipelines.steps import length_bound
from staff_engine.plan import Plan

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """Everything that a cell needs, except its coreset."""

    plan: Plan
    evaluation: EvaluationPlan
    tokens: TokenTable
    held_out: HeldOut
    metric: Metric
    tokenizer: PreTrainedTokenizerBase
    made_with: dict[str, Any]


def make_cell(bench: Bench, asked: Asked, rows: np.ndarray, seconds: float, reporter: Reporter) -> Cell:
    """Fine-tune the target on some rows and evaluate it."""
    log.info("%s: %d samples", asked.words, len(rows))
    reporter.message(asked.words)
    begun = time.perf_counter()
    model = fresh_lora(bench.plan.but(seed=asked.seed), bench.plan.target)
    order, samples = _order(bench, asked, rows)
    steps = -(-len(order) // bench.plan.batch_size)
    if steps:
        _train(bench, model, samples, order, asked, reporter)
    trained = time.perf_counter()
    losses, answers = _judge(bench, model, lambda: reporter.advance(0))
    return Cell(
        arm=asked.arm, seed=asked.seed, pruning_rate=asked.pruning_rate, scores=asked.scores,
        budget=asked.budget, beta=asked.beta, strata=asked.strata,
        rows=len(rows), rows_sha256=sha256_of(rows), steps=steps,
        loss=float(losses.mean()), metric=float(answers.mean()) if len(answers) else None,
        losses=tuple(np.round(losses, 6).tolist()), answers=tuple(np.round(answers, 3).tolist()),
        seconds={
            "select": round(seconds, 4), "train": round(trained - begun, 3),
            "evaluate": round(time.perf_counter() - trained, 3),
        },
        made_with=bench.made_with,
    )  # fmt: skip


def _order(bench: Bench, asked: Asked, rows: np.ndarray) -> tuple[list[int], list[Any]]:
    """The samples of every step, as indices into those of the coreset, and these samples."""
    indices = np.flatnonzero(np.isin(bench.tokens.row_ids, rows))
    lengths = bench.tokens.lengths[indices]
    plan = bench.plan
    how = {"batch_size": plan.batch_size, "seed": asked.seed}
    if not len(indices):
        return [], []
    match asked.budget:
        case "steps":
            steps = count_steps(len(bench.tokens), epochs=plan.epochs, batch_size=plan.batch_size)
            order = order_of_steps(lengths, steps=steps, **how)
        case "epochs" | None:  # the same on the full data
            order = training_order(lengths, epochs=plan.epochs, **how)
        case _:
            assert_never(asked.budget)
    return order, [bench.tokens[index] for index in indices.tolist()]


def _train(
    bench: Bench, model: PeftModel, samples: list[Any], order: list[int], asked: Asked, reporter: Reporter
) -> None:
    steps = -(-len(order) // bench.plan.batch_size)
    every = max(1, steps // 10)

    def on_step(step: int) -> bool:
        if step % every == 0:
            reporter.message(f"{asked.words}: step {step:,} of {steps:,}")
        return not reporter.cancelled

    finished = train(
        model,
        samples,
        order,
        pad_token_id=bench.tokenizer.pad_token_id,
        batch_size=bench.plan.batch_size,
        learning_rate=learning_rate(bench.plan),
        seed=asked.seed,
        on_step=on_step,
    )
    if not finished:
        reporter.advance(0)  # raises, because the run is being cancelled


def _judge(bench: Bench, model: PeftModel, goes: Callable[[], None]) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each held-out sample, and the score of each generated answer."""
    held_out, plan = bench.held_out, bench.plan
    losses = held_out_losses(
        model, held_out.tokens, pad_token_id=bench.tokenizer.pad_token_id,
        tokens_per_batch=plan.tokens_per_batch, goes=goes,
    )  # fmt: skip
    if not len(held_out.answered):
        return losses, np.zeros(0)
    texts = generate_answers(
        model,
        bench.tokenizer,
        [last_prompt(held_out.tokens[index]) for index in held_out.answered.tolist()],
        new_tokens=bench.evaluation.answer_tokens,
        longest=length_bound(plan, plan.target),
        tokens_per_batch=plan.tokens_per_batch,
        goes=goes,
    )
    return losses, score_answers(bench.metric, texts, held_out.references)


def learning_rate(plan: Plan) -> float:
    return plan.learning_rate or loading.default_learning_rate(plan.target)
