"""A padded batch of samples, and a forward pass that computes logits only for response tokens.

Shapes: b samples, t positions, h hidden size, v vocabulary, n response tokens of the
batch, all samples together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.data.tokens import EncodedSample

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Batch:
    """Samples padded on the right. A causal model does not attend to the padding, so it changes no result."""

    ids: torch.Tensor  # (b, t)
    lengths: torch.Tensor  # (b,)
    rows: torch.Tensor  # (n,) the sample that each response token belongs to
    positions: torch.Tensor  # (n,) the position before the token, which predicts it

    @property
    def targets(self) -> torch.Tensor:
        """(n,) ids of the response tokens."""
        return self.ids[self.rows, self.positions + 1]


def pad(samples: Sequence[EncodedSample], *, pad_token_id: int, device: torch.device | str = "cpu") -> Batch:
    """Combine samples into a batch. `pad_token_id` can be any id of the vocabulary."""
    import torch

    lengths = [len(sample.input_ids) for sample in samples]
    ids = np.full((len(samples), max(lengths)), pad_token_id, dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=bool)
    for row, sample in enumerate(samples):
        ids[row, : lengths[row]] = sample.input_ids
        mask[row, : lengths[row]] = sample.response_mask
    rows, positions = np.nonzero(mask[:, 1:])
    arrays = (ids, np.array(lengths), rows, positions)
    return Batch(*(torch.from_numpy(array).to(device) for array in arrays))


def valid_padding(model: nn.Module, pad_token_id: int) -> int:
    """The token to pad with: a tokenizer's, or 0 if the model's vocabulary does not have it."""
    return pad_token_id if pad_token_id < model.get_input_embeddings().weight.shape[0] else 0


def response_logits(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, v) at the positions that predict a response token, and the last hidden state (b, t, h).

    The head gets only those positions. Operations after the head (scaling, soft-capping) are
    elementwise, so they do not need a change.
    """
    hidden: list[torch.Tensor] = []

    def only_before_responses(head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden.append(inputs[0])
        return (inputs[0][batch.rows, batch.positions][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(only_before_responses)
    try:
        logits = model(input_ids=batch.ids, use_cache=False).logits
    finally:
        handle.remove()
    return logits[0], hidden[0]


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace the forward function of a module within the block."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own
