"""One forward and one backward pass gives every sample its effort and its other scores.

Shapes: b samples of a batch, t positions, h hidden size, v vocabulary, r LoRA rank,
o outputs of a layer, n response tokens of the batch, all samples together.

The effort of a sample is the norm of the gradient of its own mean loss. Samples of a
batch do not mix in a decoder, so one backward pass of the summed losses carries the
gradient of every sample, and a linear layer's weight gradient for sample i is
Σ_t g_it ⊗ x_it, with x the layer's input and g the gradient at its output. Both are
caught by hooks while they pass; no sample is treated on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.errors import ModelError
from staff_engine.forward import pad, response_logits
from staff_engine.tokens import EncodedSample

if TYPE_CHECKING:
    import torch
    from torch import nn

LOGITS_PER_BATCH = 2**25
"""Most logits (response tokens times vocabulary) held at once: 128 MB in float32."""


@dataclass(frozen=True)
class Scores:
    """Scores of a batch of samples, in its order; float arrays (b,) but for the last two."""

    effort: np.ndarray  # norm of the gradient, ≥ 0; higher: the sample asks for more learning
    loss: np.ndarray  # mean negative log-likelihood of the response tokens, nats
    el2n: np.ndarray  # mean over response tokens of ‖softmax(z) − onehot‖₂, 0 to √2
    entropy: np.ndarray  # mean entropy of the predictions, nats
    embedding: np.ndarray  # (b, h) float16, last hidden state averaged over the tokens
    token_losses: list[np.ndarray]  # b times (n_i,) float16: of each predicted response token, nats

    @property
    def finite(self) -> np.ndarray:
        """(b,) bool: every score of the sample is a number."""
        return np.isfinite(self.effort) & np.isfinite(self.loss) & np.isfinite(self.el2n)


def plan_batches(
    lengths: np.ndarray, responses: np.ndarray, *, tokens: int, vocabulary: int
) -> list[np.ndarray]:
    """Cut samples into batches of like length, the longest first.

    Parameters
    ----------
    lengths, responses
        int (N,): all tokens, and response tokens, of every sample.
    tokens
        Most tokens of a batch, padding counted; a longer sample makes a batch of its own.
    vocabulary
        Size of the output; bounds the response tokens of a batch by `LOGITS_PER_BATCH`.

    Returns
    -------
    list of int arrays
        Positions of the samples; every sample in exactly one batch. The longest come
        first, so that memory that does not suffice shows at once.
    """
    order = np.lexsort((np.arange(len(lengths)), -lengths))
    most_responses = max(1, LOGITS_PER_BATCH // vocabulary)
    batches, start, in_batch = [], 0, 0
    for position, sample in enumerate(order):
        padded = (position + 1 - start) * int(lengths[order[start]])
        in_batch += int(responses[sample])
        if position > start and (padded > tokens or in_batch > most_responses):
            batches.append(order[start:position])
            start, in_batch = position, int(responses[sample])
    if len(order):
        batches.append(order[start:])
    return batches


class Scorer:
    """Scores batches of samples on one model; make it once, `score` many batches.

    Parameters
    ----------
    model
        A PEFT model with every weight frozen; its LoRA layers need not be trained.
    layers
        The linear layers whose gradient is the effort, from `models.scored_layers`.
        Autograd's graph begins at the first of them: what lies below runs without one.
    pad_token_id
        Any valid token id; padding stands right of a sample, where a causal model does
        not see it, so it changes no score.
    """

    def __init__(self, model: nn.Module, layers: Sequence[nn.Module], *, pad_token_id: int) -> None:
        self.model = model.eval()
        self.layers = layers
        self.pad_token_id = pad_token_id

    def score(self, samples: Sequence[EncodedSample]) -> Scores:
        """Score a batch. Raises ModelError if it does not fit into memory."""
        import torch

        try:
            return self._score(samples)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise ModelError(
                f"{len(samples)} samples of up to {max(len(s.input_ids) for s in samples)} tokens do not fit "
                "into memory; lower tokens_per_batch or max_length"
            ) from error

    def _score(self, samples: Sequence[EncodedSample]) -> Scores:
        import torch

        batch = pad(samples, pad_token_id=self.pad_token_id, device=next(self.model.parameters()).device)
        counts = torch.bincount(batch.rows, minlength=len(samples))
        squares = torch.zeros(len(samples), dtype=self._accumulate, device=batch.ids.device)
        with torch.enable_grad(), self._watched(squares):
            logits, hidden = response_logits(self.model, batch)
        with torch.no_grad():
            error, *means = _prediction_scores(logits.detach().to(self._accumulate), batch.targets)
            logits.backward((error / counts[batch.rows, None]).to(logits.dtype))
            loss, el2n, entropy = (_mean_by_row(values, batch.rows, counts) for values in means)
            embedding = _mean_embedding(hidden.detach(), batch.lengths)
            token_losses = np.split(means[0].half().cpu().numpy(), np.cumsum(counts.cpu().numpy())[:-1])
        return Scores(_numbers(squares.sqrt()), loss, el2n, entropy, embedding, token_losses)

    @property
    def _accumulate(self) -> torch.dtype:
        """Half-precision models are summed in float32."""
        import torch

        own = next(self.model.parameters()).dtype
        return own if own == torch.float64 else torch.float32

    @contextmanager
    def _watched(self, squares: torch.Tensor) -> Iterator[None]:
        """Hook the scored layers for the time of one forward pass."""
        handles = [layer.register_forward_hook(_adds_squared_norms_to(squares)) for layer in self.layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _adds_squared_norms_to(squares: torch.Tensor) -> Any:
    """A forward hook that adds ‖∂L_i/∂W‖² of a bias-free linear layer to squares[i] in the backward pass."""
    import torch

    def hook(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        if not output.requires_grad:
            output = output.detach().requires_grad_()  # the graph begins here
        layer_input = inputs[0].detach()

        def at_backward(gradient: torch.Tensor) -> None:
            x, g = layer_input.to(squares.dtype), gradient.to(squares.dtype)
            squares.add_(torch.bmm(g.transpose(1, 2), x).square().sum(dim=(1, 2)))  # (b, o, r)

        output.register_hook(at_backward)
        return output

    return hook


def _prediction_scores(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """softmax − onehot (n, v), which is the loss's gradient at the logits; loss, EL2N, entropy (n,)."""
    import torch

    each = torch.arange(len(targets), device=targets.device)
    normalizer = torch.logsumexp(logits, dim=-1)
    loss = normalizer - logits[each, targets]
    probabilities = torch.softmax(logits, dim=-1)
    entropy = normalizer - torch.linalg.vecdot(probabilities, logits)  # −Σ p·log p
    probabilities[each, targets] -= 1
    return probabilities, loss, torch.linalg.vector_norm(probabilities, dim=-1), entropy


def _mean_by_row(values: torch.Tensor, rows: torch.Tensor, counts: torch.Tensor) -> np.ndarray:
    sums = values.new_zeros(len(counts)).index_add_(0, rows, values)
    return _numbers(sums / counts)


def _numbers(values: torch.Tensor) -> np.ndarray:
    return values.cpu().numpy().astype(np.float64)


def _mean_embedding(hidden: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
    import torch

    inside = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
    total = torch.einsum("bth,bt->bh", hidden.float(), inside.float())
    return (total / lengths[:, None]).half().cpu().numpy()
