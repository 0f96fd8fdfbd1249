"""Compute the effort and the other scores of every sample with one forward and one backward pass.

Shapes: b samples of a batch, t positions, h hidden size, n response tokens of the batch,
all samples together.

The effort of a sample is the norm of the gradient of its own mean loss. The samples of a batch
are independent in a decoder, so one backward pass of the summed losses contains the gradient of
every sample. The weight gradient of a linear layer for sample i is Σ_t g_it ⊗ x_it, where x is the
input of the layer and g the gradient at its output. Both are recorded during the pass (`lora`), so
no sample needs its own pass. The backward pass starts at the hidden states, with the gradient that
`head` computes at response positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.tokens import EncodedSample
from staff_engine.models.forward import pad, valid_padding
from staff_engine.models.sharding import is_sharded
from staff_engine.scoring.fitting import in_fitting_batches
from staff_engine.scoring.head import Head
from staff_engine.scoring.lora import SquaredGradients, WatchedLora

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Scores:
    """Scores of a batch of samples, in order; float arrays (b,) except the last two."""

    effort: np.ndarray  # norm of the gradient, ≥ 0; higher: harder
    loss: np.ndarray  # mean negative log-likelihood of the response tokens, nats
    el2n: np.ndarray  # mean over response tokens of ‖softmax(z) − onehot‖₂, 0 to √2
    entropy: np.ndarray  # mean entropy of the predictions, nats
    embedding: np.ndarray  # (b, h) float16, last hidden state averaged over the tokens
    token_losses: list[np.ndarray]  # b arrays (n_i,) float16: loss of each response token, nats

    @property
    def finite(self) -> np.ndarray:
        """(b,) bool: whether all scores of the sample are finite."""
        return np.isfinite(self.effort) & np.isfinite(self.loss) & np.isfinite(self.el2n)


def plan_batches(lengths: np.ndarray, *, tokens: int) -> list[np.ndarray]:
    """Divide samples into batches of similar length, longest first.

    Parameters
    ----------
    lengths
        int (N,): number of tokens of every sample.
    tokens
        Maximum tokens of a batch, including padding. A longer sample is a batch of its own.

    Returns
    -------
    list of int arrays
        Indices of the samples. Every sample is in exactly one batch. The longest batches are first,
        so that insufficient memory shows immediately.
    """
    order = np.lexsort((np.arange(len(lengths)), -lengths))
    batches, start = [], 0
    while start < len(order):
        end = start + max(1, tokens // int(lengths[order[start]]))
        batches.append(order[start:end])
        start = end
    return batches


class Scorer:
    """Scores batches of samples on one model. Make it once, then `score` many batches.

    Parameters
    ----------
    model
        A PEFT model with every weight frozen. Its LoRA layers can be untrained.
    layers
        The linear layers whose gradient is the effort, from `models.scored_layers`.
        The autograd graph starts at the first of them; the layers below run without a graph.
    pad_token_id
        Any token id. Padding is on the right, where a causal model does not attend to it,
        so it changes no score.

    Attributes
    ----------
    most_tokens
        Maximum tokens of a batch, including padding, after a batch did not fit into memory. None if
        all batches did.
    """

    def __init__(self, model: nn.Module, layers: Sequence[nn.Module], *, pad_token_id: int) -> None:
        self.model = model.eval()
        self.pad_token_id = valid_padding(model, pad_token_id)
        self.most_tokens: int | None = None
        self._in_step = is_sharded(model)
        self._lora = WatchedLora(model, layers)
        self._head = Head(model)

    def score(self, samples: Sequence[EncodedSample]) -> Scores:
        """Score a batch; if it does not fit into memory, score it in smaller batches.

        Raises ModelError if not even a single sample fits.
        """
        parts, self.most_tokens = in_fitting_batches(
            self._score, samples, self.most_tokens, in_step=self._in_step
        )
        return _joined(parts)

    def _score(self, samples: Sequence[EncodedSample]) -> Scores:
        import torch

        batch = pad(samples, pad_token_id=self.pad_token_id, device=next(self.model.parameters()).device)
        counts = torch.bincount(batch.rows, minlength=len(samples))
        gradients = SquaredGradients(len(samples), dtype=self._accumulate, device=batch.ids.device)
        with torch.enable_grad(), self._lora.recording(gradients):
            hidden = self._head.hidden_states(batch.ids)
        with torch.no_grad():
            predicted = self._head.predict(hidden.detach()[batch.rows, batch.positions], batch.targets)
            gradient = torch.zeros_like(hidden)
            gradient[batch.rows, batch.positions] = predicted.gradient / counts[batch.rows, None]
            hidden.backward(gradient)
            means = (predicted.loss, predicted.el2n, predicted.entropy)
            loss, el2n, entropy = (mean_by_row(values, batch.rows, counts) for values in means)
            embedding = _mean_embedding(hidden.detach(), batch.lengths)
            ends = np.cumsum(counts.cpu().numpy())[:-1]
            token_losses = np.split(predicted.loss.half().cpu().numpy(), ends)
        return Scores(_numbers(gradients.total().sqrt()), loss, el2n, entropy, embedding, token_losses)

    @property
    def _accumulate(self) -> torch.dtype:
        """The dtype of sums: at least float32, also for half-precision models."""
        import torch

        return torch.promote_types(next(self.model.parameters()).dtype, torch.float32)


def _joined(parts: list[Scores]) -> Scores:
    if len(parts) == 1:
        return parts[0]
    arrays = ("effort", "loss", "el2n", "entropy", "embedding")
    return Scores(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays},
        token_losses=[losses for part in parts for losses in part.token_losses],
    )


def mean_by_row(values: torch.Tensor, rows: torch.Tensor, counts: torch.Tensor) -> np.ndarray:
    sums = values.new_zeros(len(counts)).index_add_(0, rows, values)
    return _numbers(sums / counts)


def _numbers(values: torch.Tensor) -> np.ndarray:
    return values.cpu().numpy().astype(np.float64)


def _mean_embedding(hidden: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
    import torch

    inside = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
    total = torch.einsum("bth,bt->bh", hidden.float(), inside.float())
    return (total / lengths[:, None]).half().cpu().numpy()
