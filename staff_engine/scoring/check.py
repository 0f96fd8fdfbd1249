"""Check on two samples that a model can be scored: the fast scores against plain autograd.

Whatever an architecture does, either the effort of each sample is that of autograd, or the model is refused
here, in seconds, before any work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.tokens import EncodedSample
from staff_engine.errors import ModelError
from staff_engine.models import adapters
from staff_engine.models.forward import pad, response_logits, valid_padding
from staff_engine.models.loading import named_failure
from staff_engine.scoring.head import Head
from staff_engine.scoring.scorer import Scorer

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
"""Number format → largest relative difference of the two efforts."""

ROUGH = 0.1
"""The same in half precision, where both are rounded."""


def check_scoring(
    model: PeftModel, samples: Sequence[EncodedSample], *, name: str, which: str, pad_token_id: int
) -> None:
    """Score samples and compare their efforts with those of autograd, untouched and as after a fine-tuning.

    The samples are one batch for both, and then scored one by one, so that a model whose samples influence
    each other fails. In half precision they are not scored one by one: there, the tokens of a batch can take
    other experts for a rounding. The model's lora_B is overwritten: it is of no use afterwards.

    Parameters
    ----------
    model
        A model with LoRA.
    samples
        Two samples, the shorter the better; of different length, so that padding is checked.
    name
        The model's name, for the error.
    which
        The scored parameters, as in `adapters.scored_layers`.

    Raises
    ------
    ModelError
        If the model fails on the samples, has weights or scores that are not finite numbers, or if its
        efforts are not those of autograd.
    """
    layers = adapters.scored_layers(model, which)
    for fill in (0.0, 1e-3):
        for layer in adapters.scored_layers(model, "all"):
            layer.weight.data.fill_(fill)
        with named_failure(name, "two samples on model", "cannot be scored"):
            _train_forward(model, samples, pad_token_id)
            found = _fast(model, layers, samples, pad_token_id)
            expected = _by_autograd(model, layers, samples, pad_token_id)
            alone = np.concatenate([_fast(model, layers, [each], pad_token_id) for each in samples])
        if not (np.isfinite(found).all() and np.isfinite(expected).all()):
            raise ModelError(_not_finite(model, name))
        kind = str(model.dtype).removeprefix("torch.")
        tolerance = TOLERANCE.get(kind, ROUGH)
        what = f"model {name!r} ({type(model.get_base_model()).__name__}) cannot be scored"
        if (difference := _difference(found, expected)) > tolerance:
            raise ModelError(
                f"{what}: the gradients of single samples differ from those of autograd by {difference:.1%}"
            )
        if kind in TOLERANCE and (difference := _difference(found, alone)) > tolerance:
            raise ModelError(
                f"{what}: the score of a sample changes by {difference:.1%} with the samples beside it;"
                " a causal decoder is needed"
            )


def _difference(efforts: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(efforts - expected) / np.maximum(expected, np.finfo(np.float32).tiny)))


def check_positions(model: PeftModel, tokens: int, name: str) -> None:
    """Run a model on as many tokens as its configuration promises to read. Raises ModelError if it fails."""
    import torch

    ids = torch.zeros((1, tokens), dtype=torch.int64, device=next(model.parameters()).device)
    with torch.no_grad(), named_failure(name, f"an input of {tokens:,} tokens to model", "failed"):
        Head(model).hidden_states(ids)


def _fast(
    model: PeftModel, layers: Sequence[nn.Module], samples: Sequence[EncodedSample], pad_token_id: int
) -> np.ndarray:
    model.requires_grad_(False)
    return Scorer(model, layers, pad_token_id=pad_token_id).score(samples).effort


def _train_forward(model: PeftModel, samples: Sequence[EncodedSample], pad_token_id: int) -> None:
    """One forward pass as in fine-tuning; some models ask for more inputs there."""
    import torch

    device = next(model.parameters()).device
    batch = pad(samples, pad_token_id=valid_padding(model, pad_token_id), device=device)
    with torch.no_grad(), torch.random.fork_rng():
        response_logits(model.train(), batch)


def _by_autograd(
    model: PeftModel, layers: Sequence[nn.Module], samples: Sequence[EncodedSample], pad_token_id: int
) -> np.ndarray:
    """The efforts by the gradients that autograd gives for the loss of each sample."""
    import torch

    weights = [layer.weight for layer in layers]
    for weight in weights:
        weight.requires_grad_(True)
    device = next(model.parameters()).device
    batch = pad(samples, pad_token_id=valid_padding(model, pad_token_id), device=device)
    logits, _ = response_logits(model, batch)
    losses = torch.nn.functional.cross_entropy(logits.float(), batch.targets, reduction="none")
    efforts = []
    for row in range(len(samples)):
        loss = losses[batch.rows == row].mean()
        gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        efforts.append(
            sum(each.double().square().sum().item() for each in gradients if each is not None) ** 0.5
        )
    model.requires_grad_(False)
    return np.array(efforts)


def _not_finite(model: nn.Module, name: str) -> str:
    for parameter_name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return (
                f"the weights of {name!r} contain values that are not finite numbers, first in"
                f" {parameter_name.removeprefix('base_model.model.')}; the file is damaged"
            )
    return f"the scores of {name!r} are not finite numbers in {model.dtype}; use dtype float32 or bfloat16"
