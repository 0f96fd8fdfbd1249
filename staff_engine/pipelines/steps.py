"""The steps of a run before models score: import, tokens, fine-tuning; each continues where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from staff_engine.data.dataset import import_dataset, open_imported
from staff_engine.data.reading import Reading
from staff_engine.data.tokenization import tokenize_dataset
from staff_engine.data.tokens import TokenTable, open_tokens
from staff_engine.errors import DatasetError, ModelError
from staff_engine.models import adapters, loading
from staff_engine.models.finetune import (
    checkpoint_folder,
    count_steps,
    finetune,
    last_checkpoint,
    steps_done,
    train,
    training_order,
)
from staff_engine.pipelines.adapted import fresh_lora
from staff_engine.pipelines.adapter_card import describe_adapter
from staff_engine.pipelines.helping import Reporter, shared
from staff_engine.plan import Plan
from staff_engine.runs import stages
from staff_engine.runs.integrity.mend import accept_import
from staff_engine.runs.stages import Stage
from staff_engine.scoring.precision import read_precision, settle
from staff_engine.system.calls import Call
from staff_engine.system.files import rename_flushed, write_checked
from staff_engine.system.words import counted

FEWEST_ROWS = 2
"""Usable rows that a run needs."""


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

    with _all_training(plan, name, tokens, part, reporter):
        finished = finetune(
            model,
            tokens,
            tokens.lengths,
            part,
            epochs=plan.epochs,
            **_settings(plan, name),
            on_step=on_step,
            on_loss=lambda history: write_checked(
                folder / training.losses, {"steps": history}, durable=False
            ),
        )
    if not finished:
        reporter.advance(0)  # raises: the run is being cancelled
    describe_adapter(part, plan, name, len(tokens))
    rename_flushed(part, folder / training.adapter)
    shutil.rmtree(checkpoint_folder(part), ignore_errors=True)


def _settings(plan: Plan, name: str) -> dict[str, Any]:
    """The settings of a fine-tuning, which all processes share."""
    return {
        "pad_token_id": loading.load_tokenizer(name).pad_token_id,
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate or loading.default_learning_rate(name),
        "seed": plan.seed,
        "parts": plan.processes,
    }


@contextmanager
def _all_training(
    plan: Plan, name: str, tokens: TokenTable, part: Path, reporter: Reporter
) -> Iterator[None]:
    """Make the helpers train with this process inside the block, if the plan's batches have several parts."""
    if plan.processes == 1:
        yield
        return
    resume_from = last_checkpoint(checkpoint_folder(part))
    files = [tokens.path, Path(resume_from) / "trainer_state.json" if resume_from else None]
    with shared(
        _help_train, plan, name, tokens.path, resume_from, reporter=reporter, files=files, collective=True
    ):
        yield


def _help_train(call: Call, plan: Plan, name: str, path: Path, resume_from: str | None) -> None:
    """Train with the leader; the weights are its own at the end."""
    tokens = open_tokens(path)
    order = training_order(tokens.lengths, epochs=plan.epochs, batch_size=plan.batch_size, seed=plan.seed)
    train(fresh_lora(plan, name), tokens, order, **_settings(plan, name), resume_from=resume_from)


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


def length_bound(plan: Plan, model: str) -> int:
    """Maximum tokens per sample: the plan's limit, or the model's if that is lower."""
    return min(plan.max_length, loading.context_length(model) or plan.max_length)
