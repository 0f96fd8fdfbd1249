"""LoRA layers during scoring: fewer passes over their outputs, and the squared gradient of each sample.

Shapes: b samples of a batch, t positions, r LoRA rank, o outputs of a layer.

A layer computes y = W x + s·B A x. PEFT multiplies by s and adds in separate passes. Here the
product is added while it is computed, in the number format of W (PEFT keeps A and B in float32
for a half-precision W, and converts every x). If g is the gradient at y, the gradient of sample i at
B is s·Σ_t g_it ⊗ (A x)_it, so only g at y must be recorded. If B is zero, as in a target that is not
tuned, the layer is W x, and only A x of scored layers is computed in addition. A layer that does more
(DoRA, dropout, its own device) is left to PEFT, and the output of its lora_B is recorded instead.
A layer that is called several times in a pass has one gradient, the sum over its calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from staff_engine.models.forward import replaced_forward

if TYPE_CHECKING:
    import torch
    from torch import nn

ADAPTER = "default"


class WatchedLora:
    """The LoRA layers of a model, some of them scored. Their weights must not change afterwards.

    Parameters
    ----------
    model
        A PEFT model with every weight frozen.
    scored
        The lora_B layers whose gradients are scored.
    """

    def __init__(self, model: nn.Module, scored: Sequence[nn.Module]) -> None:
        from peft.tuners.lora import LoraLayer

        layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
        plain = [module for module in layers if _is_plain(module)]
        self._scored = {id(layer) for layer in scored}
        self._plain = [(module, self._is_scored(module), _is_idle(module)) for module in plain]
        ours = {id(module.lora_B[ADAPTER]) for module in plain}
        self._others = [layer for layer in scored if id(layer) not in ours]

    def _is_scored(self, module: nn.Module) -> bool:
        return id(module.lora_B[ADAPTER]) in self._scored

    @contextmanager
    def recording(self, gradients: SquaredGradients) -> Iterator[None]:
        """Within the block, prepare a forward pass whose backward pass adds each gradient to `gradients`.

        The autograd graph starts at the first scored layer; the layers below run without a graph.
        """
        with ExitStack() as stack:
            for module, scored, idle in self._plain:
                forward = _forward(module, gradients if scored else None, idle=idle)
                stack.enter_context(replaced_forward(module, forward))
            for layer in self._others:
                stack.callback(layer.register_forward_hook(_hook(gradients)).remove)
            yield


class SquaredGradients:
    """Σ ‖∂L_i/∂B‖² of each sample i over the scored layers, in one forward and backward pass.

    Parameters
    ----------
    samples
        b, the number of samples of the batch.
    dtype, device
        Of the sums.
    """

    def __init__(self, samples: int, *, dtype: torch.dtype, device: torch.device) -> None:
        import torch

        self._squares = torch.zeros(samples, dtype=dtype, device=device)
        self._calls: Counter[int] = Counter()
        self._sums: dict[int, tuple[torch.Tensor, float]] = {}

    def watch(self, layer: nn.Module, output: torch.Tensor, inner: torch.Tensor, scaling: float) -> None:
        """Record one call of a layer: A x (b·t, r) is its `inner`; the gradient comes at the `output`."""
        import torch

        key = id(layer)
        self._calls[key] += 1

        def at_backward(gradient: torch.Tensor) -> None:
            samples, kind = len(self._squares), self._squares.dtype
            x = inner.reshape(samples, -1, inner.shape[-1]).to(kind)
            g = gradient.reshape(samples, -1, gradient.shape[-1]).to(kind)
            product = torch.bmm(x.transpose(1, 2), g)  # (b, r, o)
            if self._calls[key] == 1:
                self._add(product, scaling)
            elif key in self._sums:
                self._sums[key][0].add_(product)
            else:
                self._sums[key] = product, scaling

        output.register_hook(at_backward)

    def total(self) -> torch.Tensor:
        """(b,) the sums, after the backward pass."""
        while self._sums:
            self._add(*self._sums.popitem()[1])
        return self._squares

    def _add(self, gradients: torch.Tensor, scaling: float) -> None:
        squares = gradients.square_().sum(dim=(1, 2))
        self._squares.add_(squares.to(self._squares.device), alpha=scaling**2)


def _is_plain(module: Any) -> bool:
    """Whether a layer computes W x + s·B A x and nothing else."""
    from peft.tuners.lora.layer import Linear
    from torch import nn

    return (
        type(module) is Linear
        and "forward" not in vars(module)
        and module.active_adapters == [ADAPTER]
        and not (module.merged or module.disable_adapters or module.lora_variant or module.lora_bias[ADAPTER])
        and isinstance(module.lora_dropout[ADAPTER], nn.Identity)
        and all(type(part[ADAPTER]) is nn.Linear for part in (module.lora_A, module.lora_B))
    )


def _is_idle(module: Any) -> bool:
    return not module.lora_B[ADAPTER].weight.any()


def _forward(module: Any, gradients: SquaredGradients | None, *, idle: bool) -> Callable[..., torch.Tensor]:
    """Forward function of one layer, W x + s·B A x; for a scored layer, the gradient is recorded."""
    import torch

    down, up, scaling = module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight, module.scaling[ADAPTER]

    def forward(x: torch.Tensor) -> torch.Tensor:
        recorded = gradients if torch.is_grad_enabled() else None
        rows = x.reshape(-1, x.shape[-1])
        result = module.base_layer(rows)
        if recorded is not None or not idle:
            inner = rows @ down.t().to(rows.dtype)
        if not idle:
            result = result.addmm_(inner, up.t().to(rows.dtype), alpha=scaling)
        if recorded is not None:
            if not result.requires_grad:
                # The graph starts here. A copy, because a model can change its output in place, a leaf not.
                result = result.detach().requires_grad_().clone()
            recorded.watch(module, result, inner.detach(), scaling)
        return result.view(*x.shape[:-1], -1)

    return forward


def _hook(gradients: SquaredGradients) -> Any:
    """The same with a forward hook on a lora_B layer."""

    def hook(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        import torch

        if not torch.is_grad_enabled():
            return output
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        gradients.watch(layer, output, inputs[0].detach(), 1.0)
        return output

    return hook
