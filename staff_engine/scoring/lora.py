"""LoRA layers during scoring: fewer passes over their outputs, and the squared gradient of each sample.

Shapes: b samples of a batch, t positions, r LoRA rank, o outputs of a layer.

A layer computes y = W x + s·B A x. PEFT multiplies by s and adds in separate passes. Here the
product is added while it is computed, in the number format of W (PEFT keeps A and B in float32
for a half-precision W, and converts every x). If g is the gradient at y, the gradient of sample i at
B is s·Σ_t g_it ⊗ (A x)_it, so only g at y must be recorded. If B is zero, as in a target that is not
tuned, the layer is W x, and only A x of scored layers is computed in addition. A layer that does more
(DoRA, dropout, its own device) is left to PEFT, and the output of its lora_B is recorded instead.
"""

from __future__ import annotations

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
    def adding_to(self, squares: torch.Tensor) -> Iterator[None]:
        """Within the block, prepare a forward pass whose backward pass adds ‖∂L_i/∂B‖² to squares[i].

        This sums over all scored layers. The autograd graph starts at the first of them; the layers
        below run without a graph.
        """
        with ExitStack() as stack:
            for module, scored, idle in self._plain:
                forward = _forward(module, squares if scored else None, idle=idle)
                stack.enter_context(replaced_forward(module, forward))
            for layer in self._others:
                stack.callback(layer.register_forward_hook(_hook(squares)).remove)
            yield


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


def _forward(module: Any, squares: torch.Tensor | None, *, idle: bool) -> Callable[..., torch.Tensor]:
    """Forward function of one layer, W x + s·B A x; for a scored layer, the gradient is recorded."""

    down, up, scaling = module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight, module.scaling[ADAPTER]

    def forward(x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        result = module.base_layer(rows)
        if squares is not None or not idle:
            inner = rows @ down.t().to(rows.dtype)
        if not idle:
            result = result.addmm_(inner, up.t().to(rows.dtype), alpha=scaling)
        if squares is not None:
            if not result.requires_grad:
                result = result.detach().requires_grad_()  # the graph starts here
            result.register_hook(_adds(squares, inner.detach(), scaling))
        return result.view(*x.shape[:-1], -1)

    return forward


def _hook(squares: torch.Tensor) -> Any:
    """The same with a forward hook on a lora_B layer."""

    def hook(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        output.register_hook(_adds(squares, inputs[0].detach(), 1.0))
        return output

    return hook


def _adds(squares: torch.Tensor, inner: torch.Tensor, scaling: float) -> Callable[[torch.Tensor], None]:
    import torch

    def at_backward(gradient: torch.Tensor) -> None:
        x = inner.reshape(len(squares), -1, inner.shape[-1]).to(squares.dtype)
        g = gradient.reshape(len(squares), -1, gradient.shape[-1]).to(squares.dtype)
        gradients = torch.bmm(x.transpose(1, 2), g)  # (b, r, o)
        squares.add_(gradients.square_().sum(dim=(1, 2)), alpha=scaling**2)

    return at_backward
