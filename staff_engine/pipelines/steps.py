"""The steps of a run with a model: fine-tuning and scoring; each continues where it stopped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from staff_engine.data.dataset import import_dataset, open_imported
from staff_engine.data.reading import Reading
from staff_engine.data.tokenization import tokenize_dataset
from staff_engine.data.tokens import EncodedSample, TokenTable, open_tokens
from staff_engine.errors import DatasetError, ModelError
from staff_engine.models import adapters, loading
from staff_engine.models.finetune import checkpoint_folder, count_steps, finetune, steps_done
from staff_engine.pipelines.adapter_card import describe_adapter
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.integrity.mend import accept_import
from staff_engine.runs.stages import Stage
from staff_engine.scoring.losses import LossScorer, first_token
from staff_engine.scoring.parts import LossPartWriter, PartWriter
from staff_engine.scoring.precision import read_precision, settle
from staff_engine.scoring.scorer import Scorer, plan_batches
from staff_engine.system.files import read_checked, rename_flushed, write_checked
from staff_engine.system.words import counted

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_Of = TypeVar("_Of")
_Out = TypeVar("_Out", covariant=True)
_In = TypeVar("_In", contravariant=True)

FEWEST_ROWS = 2
"""Usable rows that a run needs."""

SHRUNK_FILE = "batches.json"
"""First row of each batch that did not fit into memory, and the maximum tokens per batch from there."""


class Reporter(Protocol):
    """Receives the progress of a run; `advance` raises if the run is to be cancelled."""

    def stage(self, stage: Stage, total: int = 0, done: int = 0) -> None: ...
    def advance(self, count: int = 1) -> None: ...
    def message(self, text: str) -> None: ...
    @property
    def cancelled(self) -> bool: ...


@dataclass(frozen=True)
class Training:
    """The fine-tuning of one of the two models: its stage and its files in the run's folder."""

    stage: Stage
    adapter: str
    losses: str


def import_rows(plan: Plan, folder: Path, reporter: Reporter) -> None:
    """Import the data set into the run's folder, unless it is already imported."""
    if (folder / "dataset").exists():
        return
    reporter.stage(stages.IMPORT, plan.limit or 0)
    import_dataset(
        plan.dataset,
        folder / "dataset",
        Reading.of(plan),
        split=plan.split,
        limit=plan.limit,
        on_progress=reporter.advance,
    )
    accept_import(folder)
    usable = int(open_imported(folder / "dataset").rows.data.column("problem").null_count)
    if usable < FEWEST_ROWS:
        raise DatasetError(
            f"{plan.dataset} has {counted(usable, 'usable row')}; a run needs at least {FEWEST_ROWS}"
        )


def settle_format(plan: Plan, folder: Path, name: str, tokens: TokenTable, reporter: Reporter) -> Plan:
    """Choose the number format of a run, as a stage of its own if it is not chosen yet."""
    if plan.dtype == "auto" and read_precision(folder) is None:
        reporter.stage(stages.NUMBER_FORMAT, 1)
        plan = settle(plan, folder, name, tokens)
        reporter.advance()
    return settle(plan, folder, name, tokens)


def train_adapter(
    training: Training,
    plan: Plan,
    name: str,
    tokens: TokenTable,
    folder: Path,
    reporter: Reporter,
    *,
    keep: Mapping[int, Path] | None = None,
) -> None:
    """Fine-tune a model into an adapter, from its last checkpoint if there is one.

    `keep` has the steps after which the adapter is also written to another folder.
    """
    part = folder / f"{training.adapter}.part"
    steps = count_steps(len(tokens), epochs=plan.epochs, batch_size=plan.batch_size)
    done = steps_done(part)
    reporter.stage(training.stage, steps, done)
    model = fresh_lora(plan, name)

    def on_step(step: int) -> bool:
        nonlocal done
        if keep and step in keep:
            adapters.save_adapter(model, keep[step])
        if reporter.cancelled:
            return False
        reporter.advance(step - done)
        done = step
        return True

    finished = finetune(
        model,
        tokens,
        tokens.lengths,
        part,
        pad_token_id=loading.load_tokenizer(name).pad_token_id,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate or loading.default_learning_rate(name),
        seed=plan.seed,
        on_step=on_step,
        on_loss=lambda history: write_checked(folder / training.losses, {"steps": history}, durable=False),
    )
    if not finished:
        reporter.advance(0)  # raises: the run is being cancelled
    describe_adapter(part, plan, name, len(tokens))
    rename_flushed(part, folder / training.adapter)
    shutil.rmtree(checkpoint_folder(part), ignore_errors=True)


def load_base(plan: Plan, name: str) -> PreTrainedModel:
    """Load one of the plan's models. Only the target is quantized and spread over GPUs."""
    of_target = {"quantize": plan.quantize, "device_map": plan.device_map} if name == plan.target else {}
    return loading.load_model(
        name, device=plan.device, dtype=plan.dtype, attention=plan.attn_implementation, **of_target
    )


def fresh_lora(plan: Plan, name: str) -> PeftModel:
    """Load the untouched model with new LoRA matrices, which have no effect yet."""
    return with_lora(plan, load_base(plan, name))


def with_lora(plan: Plan, model: PreTrainedModel) -> PeftModel:
    """Add the plan's LoRA matrices to a model."""
    return adapters.add_lora(
        model, rank=plan.lora_rank, alpha=plan.lora_alpha, seed=plan.seed, targets=plan.lora_names
    )


def tokenize_rows(plan: Plan, name: str, folder: Path, ids: np.ndarray, path: Path) -> TokenTable:
    """Tokenize some rows of the run's data for a model, and open the result."""
    imported = open_imported(folder / "dataset")
    tokenize_dataset(
        imported.rows.select(ids),
        loading.load_tokenizer(name, plan.chat_template),
        path,
        max_length=length_bound(plan, name),
        conversation=imported.facts.conversation,
    )
    tokens = open_tokens(path)
    check_ids(tokens, name)
    return tokens


def check_ids(tokens: TokenTable, name: str) -> None:
    """Raise ModelError if a sample has a token id that the model's vocabulary does not have."""
    size = loading.vocabulary_size(name)
    if size is not None and tokens.greatest_id >= size:
        raise ModelError(
            f"the tokenizer of {name!r} gives token id {tokens.greatest_id:,}, but the model's vocabulary has"
            f" {size:,} entries; the tokenizer does not belong to the model"
        )


def score_samples(
    plan: Plan,
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    tokens: TokenTable,
    done: set[int],
    writer: PartWriter,
    reporter: Reporter,
) -> None:
    """Score all samples that are not done; scores are on disk even if this is cancelled.

    Reductions of the batch size, to fit memory, are stored with the scores. So a resumed run uses
    the same batches.
    """
    model.requires_grad_(False)
    scorer = Scorer(
        model, adapters.scored_layers(model, plan.scored_parameters), pad_token_id=tokenizer.pad_token_id
    )
    batches = plan_batches(tokens.lengths, tokens=plan.tokens_per_batch)
    _score_batches(scorer, writer, tokens, batches, done, reporter)


def score_losses(
    plan: Plan,
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    tokens: TokenTable,
    done: set[int],
    writer: LossPartWriter,
    reporter: Reporter,
    *,
    without_prompts: bool = False,
) -> None:
    """Compute only the losses of all samples that are not done, as `score_samples` does.

    With `without_prompts`, those of the responses alone.
    """
    model.requires_grad_(False)
    first = first_token(tokenizer) if without_prompts else None
    scorer = LossScorer(model, first=first, pad_token_id=tokenizer.pad_token_id)
    lengths = tokens.response_tokens + 1 if without_prompts else tokens.lengths
    batches = plan_batches(lengths, tokens=plan.tokens_per_batch)
    _score_batches(scorer, writer, tokens, batches, done, reporter)


class _Scores(Protocol[_Out]):
    most_tokens: int | None

    def score(self, samples: Sequence[EncodedSample]) -> _Out: ...


class _Writes(Protocol[_In]):
    folder: Path

    def add(self, tokens: TokenTable, batch: np.ndarray, scores: _In, seconds: float) -> None: ...
    def flush(self) -> None: ...


def _score_batches(
    scorer: _Scores[_Of],
    writer: _Writes[_Of],
    tokens: TokenTable,
    batches: list[np.ndarray],
    done: set[int],
    reporter: Reporter,
) -> None:
    path = writer.folder / SHRUNK_FILE
    shrunk: dict[str, int] = read_checked(path) if path.exists() else {}
    try:
        for batch in batches:
            first = int(tokens.row_ids[batch[0]])
            scorer.most_tokens = before = shrunk.get(str(first), scorer.most_tokens)
            if first in done:
                continue
            start = time.perf_counter()
            scores = scorer.score([tokens[i] for i in batch])
            if scorer.most_tokens is not None and scorer.most_tokens != before:
                shrunk[str(first)] = scorer.most_tokens
                write_checked(path, shrunk)
            writer.add(tokens, batch, scores, time.perf_counter() - start)
            reporter.advance(len(batch))
    finally:
        writer.flush()


def length_bound(plan: Plan, model: str) -> int:
    """Maximum tokens per sample: the plan's limit, or the model's if that is lower."""
    return min(plan.max_length, loading.context_length(model) or plan.max_length)
