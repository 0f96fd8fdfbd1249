"""Fine-tune a model with LoRA on the samples, with transformers.Trainer and peft."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.data.tokens import EncodedSample
from staff_engine.models.adapters import save_adapter
from staff_engine.models.divided import divided_step, own_parts
from staff_engine.models.forward import Batch, pad, response_logits, valid_padding
from staff_engine.models.sharding import is_sharded
from staff_engine.system import team

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

log = logging.getLogger(__name__)

SCHEDULE, WARM_UP = "cosine", 0.1
"""How the learning rate changes, and the fraction of the steps in which it rises."""


def training_order(
    lengths: Sequence[int] | np.ndarray, *, epochs: int, batch_size: int, seed: int
) -> list[int]:
    """The samples of all epochs in one list, grouped by similar length.

    The order is computed in advance, so that a fine-tuning that resumes after a kill uses the same
    batches as an uninterrupted one.

    Parameters
    ----------
    lengths
        int (N,), tokens of each sample.

    Returns
    -------
    list of int
        `epochs` permutations of range(N), one after the other.
    """
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    for _ in range(epochs):
        order += get_length_grouped_indices(list(lengths), batch_size, generator=generator)
    return order


def save_steps(steps: int) -> int:
    """Steps between checkpoints: a tenth of all steps, at least 10 and at most 200."""
    return max(10, min(200, steps // 10))


def count_steps(samples: int, *, epochs: int, batch_size: int) -> int:
    """Number of optimizer steps of a fine-tuning."""
    return -(-samples * epochs // batch_size)


def checkpoint_steps(steps: int, count: int) -> list[int]:
    """The steps after which the losses of all samples are measured: evenly spaced, the last one included.

    Fewer than `count` if there are fewer steps.
    """
    return sorted({-(-steps * number // count) for number in range(1, count + 1)})


def order_of_steps(
    lengths: Sequence[int] | np.ndarray, *, steps: int, batch_size: int, seed: int
) -> list[int]:
    """The samples of a number of full steps: successive epochs, the last one truncated.

    It is the start of the `training_order` of as many epochs as needed.
    """
    count = steps * batch_size
    epochs = -(-count // len(lengths))
    return training_order(lengths, epochs=epochs, batch_size=batch_size, seed=seed)[:count]


def finetune(
    model: PeftModel,
    samples: Sequence[EncodedSample],
    lengths: Sequence[int] | np.ndarray,
    folder: Path,
    *,
    pad_token_id: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    parts: int = 1,
    on_step: Callable[[int], bool] = lambda step: True,
    on_loss: Callable[[list[dict[str, float]]], None] = lambda history: None,
) -> bool:
    """Train the LoRA parameters and write them to `folder` as a PEFT adapter.

    Calls `train` with `training_order`. Checkpoints are written to the `checkpoint_folder`, and
    training resumes from the last one.

    Parameters
    ----------
    model
        A model with new LoRA matrices, which are trained in their own dtype.
    samples, lengths
        The samples (read when needed), and their numbers of tokens, int (N,).
    parts
        Parts into which each batch is divided. With more than one, the processes of the team compute
        a step together, and all of them must train.
    on_step
        Called after each step with the number of finished steps. If it returns False, the training
        saves a checkpoint and stops.
    on_loss
        Called with the loss history so far: dictionaries with step, loss and learning_rate.

    Returns
    -------
    bool
        Whether the training is complete and the adapter is written.
    """
    finished = train(
        model,
        samples,
        training_order(lengths, epochs=epochs, batch_size=batch_size, seed=seed),
        pad_token_id=pad_token_id,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        parts=parts,
        checkpoints=checkpoint_folder(folder),
        resume_from=last_checkpoint(checkpoint_folder(folder)),
        on_step=on_step,
        on_loss=on_loss,
    )
    if finished:
        save_adapter(model, folder)
    return finished


def train(
    model: PeftModel,
    samples: Sequence[EncodedSample],
    order: Sequence[int],
    *,
    pad_token_id: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    parts: int = 1,
    checkpoints: Path | None = None,
    resume_from: str | None = None,
    on_step: Callable[[int], bool] = lambda step: True,
    on_loss: Callable[[list[dict[str, float]]], None] = lambda history: None,
) -> bool:
    """Train the LoRA parameters of a model on its samples in a given order.

    AdamW, cosine schedule with warm-up in the first tenth of the steps, no weight decay, gradients
    clipped at norm 1. The loss is the mean over the response tokens of a batch.

    Parameters
    ----------
    model, samples, pad_token_id, batch_size, learning_rate, seed, parts, on_loss
        As in `finetune`. In a helper of a team, only the leader's `on_step` counts.
    order
        Indices of the samples in the order of training. Each step uses the next `batch_size`.
    checkpoints
        A folder to save checkpoints to. None: nothing is saved.
    resume_from
        The checkpoint to resume from. None: from the beginning.
    on_step
        Called after each step with the number of finished steps. If it returns False, the training
        stops.

    Returns
    -------
    bool
        Whether the training is complete.
    """
    from transformers import TrainingArguments

    steps = -(-len(order) // batch_size)
    _train_only_lora(model)
    with tempfile.TemporaryDirectory(prefix="staff-training-") as unused:  # Trainer always creates its folder
        arguments = TrainingArguments(
            output_dir=str(checkpoints or unused),
            per_device_train_batch_size=batch_size,
            num_train_epochs=1,
            learning_rate=learning_rate,
            lr_scheduler_type=SCHEDULE,
            warmup_steps=WARM_UP,
            weight_decay=0.0,
            train_sampling_strategy="sequential",
            logging_steps=max(1, steps // 100),
            save_strategy="steps" if checkpoints else "no",
            save_steps=save_steps(steps),
            save_total_limit=1,
            seed=seed,
            use_cpu=model.device.type == "cpu",
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            report_to="none",
            disable_tqdm=True,
        )
        if arguments.n_gpu > 1:  # Trainer would put a batch on every GPU, and a step would have several
            arguments._n_gpu = 1
        trainer = _make_trainer(
            model,
            arguments,
            _InOrder(samples, order),
            valid_padding(model, pad_token_id),
            parts,
            on_step,
            on_loss,
        )
        trainer.train(resume_from_checkpoint=resume_from)
    return trainer.state.global_step == steps


def checkpoint_folder(folder: Path) -> Path:
    """The folder of the checkpoints for the adapter in `folder`. Each adapter has its own."""
    return folder.with_name(f"{folder.stem}_checkpoints")


def steps_done(folder: Path) -> int:
    """Number of steps in the last checkpoint of an unfinished fine-tuning into `folder`."""
    last = last_checkpoint(checkpoint_folder(folder))
    return int(last.rpartition("-")[2]) if last else 0


def last_checkpoint(checkpoints: Path) -> str | None:
    """The newest complete checkpoint; None if there is none.

    A checkpoint whose writing was interrupted has no `trainer_state.json`, which is written last.
    """
    complete = {}
    for state in checkpoints.glob("checkpoint-*/trainer_state.json"):
        try:
            json.loads(state.read_bytes())
        except (OSError, ValueError):
            continue
        complete[int(state.parent.name.rpartition("-")[2])] = str(state.parent)
    return complete[max(complete)] if complete else None


def _train_only_lora(model: PeftModel) -> None:
    model.train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


class _InOrder(Sequence[EncodedSample]):
    """Samples in a given order, read one by one."""

    def __init__(self, samples: Sequence[EncodedSample], order: Sequence[int]) -> None:
        self.samples, self.order = samples, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: Any) -> Any:
        return self.samples[self.order[index]]


def _make_trainer(
    model: PeftModel,
    arguments: Any,
    samples: Sequence[EncodedSample],
    pad_token_id: int,
    parts: int,
    on_step: Callable[[int], bool],
    on_loss: Callable[[list[dict[str, float]]], None],
) -> Any:
    from torch.nn import functional
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_callback import PrinterCallback

    class ResponseTrainer(Trainer):  # type: ignore[misc]
        """Trains on the response tokens, and computes logits only for them."""

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> torch.Tensor:
            batch = Batch(**inputs)
            logits, _ = response_logits(model, batch)
            return functional.cross_entropy(logits.float(), batch.targets)

    class DividedTrainer(ResponseTrainer):
        """Computes a step together with the other processes of the team."""

        def training_step(self, model: Any, inputs: dict[str, Any], *_: Any) -> torch.Tensor:
            model.train()
            trained = [each for each in model.parameters() if each.requires_grad]
            return divided_step(
                trained,
                self._prepare_inputs(inputs),
                lambda batch: self.compute_loss(model, vars(batch)),
                parts=parts,
                seed=(arguments.seed << 32) + self.state.global_step,
            )

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            goes = on_step(state.global_step)
            if not (goes if parts == 1 else team.agree(goes)):
                control.should_save = args.save_strategy != "no"
                control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            on_loss([entry for entry in state.log_history if "loss" in entry])

    def collate(batch: list[EncodedSample]) -> dict[str, Any]:
        if parts > 1:
            return own_parts(batch, parts, pad_token_id=pad_token_id, in_step=is_sharded(model))
        return vars(pad(batch, pad_token_id=pad_token_id))

    kind = DividedTrainer if parts > 1 else ResponseTrainer
    trainer = kind(
        model=model, args=arguments, train_dataset=samples, data_collator=collate, callbacks=[Watch()]
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
