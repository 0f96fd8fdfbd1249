"""Predictions of a model at response positions, in chunks: losses, EL2N, entropy, and the gradient.

Shapes: b samples, t positions, h hidden size, v vocabulary, n response tokens of the
batch, all samples together; c of them in a chunk.

The logits of a whole batch and their gradient are never in memory at once, so memory does not
grow with the vocabulary. If the logits of a model are just the output of its head, the gradient of
the loss at a hidden state has a closed form: (softmax(z) − onehot) W. If the model does more
(scaling, soft-capping), its own forward pass and autograd compute the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from staff_engine.errors import ModelError
from staff_engine.models.forward import replaced_forward

if TYPE_CHECKING:
    import torch
    from torch import nn

LOGITS_AT_ONCE = 2**23
"""Maximum logits (response tokens times vocabulary) in memory: 32 MB in float32."""

FEWEST_AT_ONCE = 16
"""Minimum response tokens per chunk: with fewer, reading the weights takes most of the time."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for n response tokens, in order; float32, or float64 for a float64 model."""

    loss: torch.Tensor  # (n,) negative log-likelihood, nats
    el2n: torch.Tensor  # (n,) ‖softmax(z) − onehot‖₂, 0 to √2
    entropy: torch.Tensor  # (n,) nats
    gradient: torch.Tensor  # (n, h) gradient of the token's loss at its hidden state


class Head:
    """The output layer of a causal model, and what the model does with its logits.

    Parameters
    ----------
    model
        A model with every weight frozen, with or without PEFT.

    Raises
    ------
    ModelError
        If the model has no output layer.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.linear = self.model.get_output_embeddings()
        if self.linear is None:
            raise ModelError(f"{type(self.model).__name__} has no output layer from hidden states to tokens")
        self._closed: bool | None = None
        self._below: list[tuple[nn.Module, list[Any]]] | None = None
        self._buffers: dict[str, torch.Tensor] = {}

    def hidden_states(self, ids: torch.Tensor) -> torch.Tensor:
        """Input of the output layer, (b, t, h), for token ids, int (b, t). No logits are computed."""
        seen: list[torch.Tensor] = []

        def take(hidden: torch.Tensor) -> torch.Tensor:
            seen.append(hidden)
            return hidden[:, :0]

        self._run(ids, take)
        if len(seen) != 1 or seen[0].shape[:2] != ids.shape:
            shapes = ", ".join(str(tuple(hidden.shape)) for hidden in seen) or "none"
            raise ModelError(
                f"the output layer of {type(self.model).__name__} should receive one hidden state per token;"
                f" for token ids {tuple(ids.shape)} it received {shapes}"
            )
        return seen[0]

    def _run(self, ids: torch.Tensor, head_input: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The model's logits, with the input of the output layer replaced."""

        def hook(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return (head_input(inputs[0]),)

        handle = self.linear.register_forward_pre_hook(hook)
        try:
            return self.model(input_ids=ids, use_cache=False, return_dict=True).logits
        finally:
            handle.remove()

    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> Predictions:
        """Predict the tokens `targets`, int (n,), from the hidden states (n, h) before them."""
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

    def losses(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The losses of `predict`, (n,), without the rest; memory is bounded in the same way."""
        import torch

        kind = torch.promote_types(hidden.dtype, torch.float32)
        losses = torch.empty(len(targets), dtype=kind, device=hidden.device)
        chunk = self.most_at_once
        for start in range(0, len(targets), chunk):
            part = slice(start, start + chunk)
            logits = self._logits(hidden[part][None])[0].to(kind)
            losses[part] = torch.nn.functional.cross_entropy(logits, targets[part], reduction="none")
        return losses

    @property
    def most_at_once(self) -> int:
        """c, the number of response tokens in a chunk."""
        return max(FEWEST_AT_ONCE, LOGITS_AT_ONCE // self.linear.weight.shape[0])

    def _is_linear(self, hidden: torch.Tensor) -> bool:
        """Whether the model's logits equal the output of its head bit by bit, even for very large values."""
        import torch

        if self._closed is None:
            if type(self.linear) is not torch.nn.Linear or hasattr(self.linear, "_hf_hook"):
                self._closed = False
            else:
                with torch.no_grad():
                    probe = hidden[None] * (1000 / self.linear(hidden).abs().max().clamp(min=1e-3))
                    self._closed = torch.equal(self._logits(probe), self.linear(probe))
        return self._closed

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """The model's own logits for inputs (1, c, h) of its output layer.

        The modules below are not run: they return what they returned for a single token, and the model
        continues with `hidden` in place of it. What a model does after its head is elementwise.
        """
        import torch

        ids = torch.zeros((1, 1), dtype=torch.int64, device=hidden.device)
        if self._below is None:
            self._below = self._outputs_below(ids)
        with ExitStack() as stack:
            for module, outputs in self._below:
                stack.enter_context(replaced_forward(module, _replay(outputs)))
            return self._run(ids, lambda _: hidden)

    def _outputs_below(self, ids: torch.Tensor) -> list[tuple[nn.Module, list[Any]]]:
        """The modules that the model's own forward function calls, except the head, and their outputs."""
        import torch

        outputs: dict[nn.Module, list[Any]] = {}
        depth = 0

        def enter(module: nn.Module, inputs: Any) -> None:
            nonlocal depth
            depth += 1

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal depth
            depth -= 1
            if not depth:
                outputs.setdefault(module, []).append(output)

        with torch.no_grad(), ExitStack() as stack:
            for module in self.model.modules():
                if not any(inner is self.linear for inner in module.modules()):
                    stack.callback(module.register_forward_pre_hook(enter).remove)
                    stack.callback(module.register_forward_hook(leave).remove)
            self._run(ids, lambda hidden: hidden)
        return list(outputs.items())

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

        Every pass over (c, v) numbers takes time, so the exponentials are computed once and not
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
        """A buffer for (rows, v) numbers that is used again, because allocating it each time takes longer."""
        import torch

        kept = self._buffers.get(name)
        if kept is None or kept.dtype != dtype or len(kept) < rows:
            size = (rows, self.linear.weight.shape[0])
            kept = self._buffers[name] = torch.empty(size, dtype=dtype, device=self.linear.weight.device)
        return kept[:rows]


def _replay(outputs: list[Any]) -> Callable[..., Any]:
    """A forward function that returns the recorded outputs, in the order of the calls."""
    left = iter(outputs)
    return lambda *_, **__: next(left)
