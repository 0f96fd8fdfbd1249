"""What a model predicts at response positions, a few at a time: losses, EL2N, entropy, and the gradient.

Shapes: b samples, t positions, h hidden size, v vocabulary, n response tokens of the
batch, all samples together; c of them are looked at together.

Neither the logits of a batch nor their gradient are ever held at once, so that memory
does not grow with the vocabulary. Where a model's logits are what its head makes of the
hidden states and nothing else, the loss's gradient at a hidden state is written down:
(softmax(z) − onehot) W. Where it does more (scaling, soft-capping), the model's own
forward pass and autograd find it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from staff_engine.errors import ModelError
from staff_engine.models.forward import replaced_forward

if TYPE_CHECKING:
    import torch
    from torch import nn

LOGITS_AT_ONCE = 2**23
"""Most logits (response tokens times vocabulary) held at once: 32 MB in float32."""

FEWEST_AT_ONCE = 16
"""Response tokens at once whatever the vocabulary: with fewer, the weights take longest to read."""


@dataclass(frozen=True)
class Predictions:
    """Of n response tokens, in their order; in float32, of a float64 model in float64."""

    loss: torch.Tensor  # (n,) negative log-likelihood, nats
    el2n: torch.Tensor  # (n,) ‖softmax(z) − onehot‖₂, 0 to √2
    entropy: torch.Tensor  # (n,) nats
    gradient: torch.Tensor  # (n, h) of the token's loss at its hidden state


class Head:
    """The part of a causal model above its backbone.

    Parameters
    ----------
    model
        With every weight frozen; with or without PEFT.

    Raises
    ------
    ModelError
        If the model does not say which part of it is the backbone.
    """

    def __init__(self, model: nn.Module) -> None:
        from transformers.modeling_outputs import BaseModelOutputWithPast

        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.backbone = self.model.base_model
        if self.backbone is self.model:
            raise ModelError(f"{type(self.model).__name__} does not say which part of it is its backbone")
        self.linear = self.model.get_output_embeddings()
        self._output: type = BaseModelOutputWithPast  # what the model takes from its backbone
        self._buffers: dict[str, torch.Tensor] = {}

    def hidden_states(self, ids: torch.Tensor) -> torch.Tensor:
        """(b, t, h): what the backbone makes of int (b, t) token ids."""
        output = self.backbone(input_ids=ids, use_cache=False)
        self._output = type(output)
        return output.last_hidden_state

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> Predictions:
        """Predict the tokens `targets`, int (n,), from the hidden states (n, h) that stand before them."""
        import torch

        gradient = torch.empty_like(hidden)
        kind = torch.promote_types(hidden.dtype, torch.float32)
        scores = torch.empty(3, len(targets), dtype=kind, device=hidden.device)
        chunk = self.most_at_once
        work = self._in_closed_form if self._is_linear(hidden[:1]) else self._by_autograd
        for start in range(0, len(targets), chunk):
            part = slice(start, start + chunk)
            scores[:, part], gradient[part] = work(hidden[part], targets[part])
        loss, el2n, entropy = scores
        return Predictions(loss, el2n, entropy, gradient)

    @property
    def most_at_once(self) -> int:
        """c, the response tokens that are looked at together."""
        return max(FEWEST_AT_ONCE, LOGITS_AT_ONCE // self.linear.weight.shape[0])

    def _is_linear(self, hidden: torch.Tensor) -> bool:
        """Whether the model's logits are the head's output, bit by bit, even where they are very large."""
        import torch

        if type(self.linear) is not torch.nn.Linear or hasattr(self.linear, "_hf_hook"):
            return False
        with torch.no_grad():
            probe = hidden[None] * (1000 / self.linear(hidden).abs().max().clamp(min=1e-3))
            return torch.equal(self._logits(probe), self.linear(probe))

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """The model's own logits for hidden states (1, c, h), whatever it does above its backbone."""
        import torch

        ids = torch.zeros(hidden.shape[:2], dtype=torch.int64, device=hidden.device)
        output = self._output(last_hidden_state=hidden)
        with replaced_forward(self.backbone, lambda *_, **__: output):
            return self.model(input_ids=ids, use_cache=False).logits

    def _in_closed_form(
        self, hidden: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        weight, bias = self.linear.weight, self.linear.bias
        logits = self._buffer("logits", hidden.dtype, len(hidden))
        torch.mm(hidden, weight.t(), out=logits)
        if bias is not None:
            logits += bias
        scores, error, scale = self._score(logits, targets)
        return scores, (error.to(hidden.dtype) @ weight) / scale

    def _by_autograd(self, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        with torch.enable_grad():
            leaf = hidden[None].detach().requires_grad_()
            logits = self._logits(leaf)
        scores, error, scale = self._score(logits.detach()[0], targets)
        (gradient,) = torch.autograd.grad(logits, leaf, error.to(logits.dtype)[None])
        return scores, gradient[0] / scale

    def _score(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Loss, EL2N and entropy (3, c); (softmax − onehot) (c, v), not yet divided by the sums (c, 1).

        Every pass over (c, v) numbers counts, so the exponentials are taken once and never
        divided: with e = exp(z − max z) and s = Σe, softmax is e/s and entropy log s − Σ e·(z − max z)/s.
        """
        import torch

        each = torch.arange(len(targets), device=targets.device)
        kind = torch.promote_types(logits.dtype, torch.float32)
        peak = logits.amax(dim=-1, keepdim=True)
        if logits.dtype == kind:
            shifted = logits.sub_(peak)
        else:
            shifted = torch.sub(logits, peak.to(kind), out=self._buffer("shifted", kind, len(logits)))
        error = torch.exp(shifted, out=self._buffer("error", kind, len(logits)))
        total = error.sum(dim=-1)
        log_total = total.log()
        loss = log_total - shifted[each, targets]
        entropy = log_total - torch.linalg.vecdot(error, shifted) / total
        error[each, targets] -= total
        el2n = torch.linalg.vector_norm(error, dim=-1) / total
        return torch.stack([loss, el2n, entropy]), error, total[:, None]

    def _buffer(self, name: str, dtype: torch.dtype, rows: int) -> torch.Tensor:
        """Room for (rows, v) numbers that is used again: asking the system for it each time takes longer."""
        import torch

        kept = self._buffers.get(name)
        if kept is None or kept.dtype != dtype or len(kept) < rows:
            size = (rows, self.linear.weight.shape[0])
            kept = self._buffers[name] = torch.empty(size, dtype=dtype, device=self.linear.weight.device)
        return kept[:rows]
