"""The parts of a model by structure: its text tower, the layers that get LoRA, the last decoder block.

Three kinds of layers get no LoRA, neither in training nor in scoring:

- Routed experts and their routers. An expert receives tokens of several samples in an order of its own, so
  its gradient cannot be divided by sample. PEFT replaces targets called gate_proj, up_proj or down_proj by
  the experts in such models, so layers with these names are left out there as well.
- The projections of a state-space mixer whose weights its fused kernels read directly, past LoRA.
- The towers of a multimodal model that read images or sound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from staff_engine.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

EXPERTS = re.compile(r"Experts|Router|Gating")
"""Class names of routed experts and of their routers, in transformers."""

FEED_FORWARD = frozenset(
    {"gate", "gate_proj", "up_proj", "down_proj", "gate_up_proj", "w1", "w2", "w3"}
)  # fmt: skip
"""Names of layers that get no LoRA in a model with experts."""

FUSED = frozenset({"out_proj", "x_proj", "dt_proj"})
"""Names of layers whose weights the kernels of a state-space mixer read directly."""


@dataclass(frozen=True)
class LoraLayers:
    """The layers of a model that get LoRA.

    Attributes
    ----------
    names
        Full names, in the order of the model.
    share
        Their fraction of all weights of the model, 0 to 1.
    left_out
        What gets no LoRA besides the head, in words; empty if nothing.
    """

    names: tuple[str, ...]
    share: float
    left_out: str


def find_lora_layers(model: PreTrainedModel, chosen: Sequence[str] = ()) -> LoraLayers:
    """Find the linear layers of a model that get LoRA.

    Parameters
    ----------
    chosen
        Names of layers, or ends of names ("q_proj", "mlp.down_proj"). Only these get LoRA. A name that
        starts with "-" excludes a layer, or all layers of a module ("-mlp"). Empty: all layers that can.

    Raises
    ------
    ModelError
        If no layer is left, or a name matches none.
    """
    tower_name, tower = text_tower(model)
    head = model.get_output_embeddings()
    linear = {name: module for name, module in tower.named_modules(prefix=tower_name) if _is_linear(module)}
    routed = set(_inside_experts(tower, tower_name))
    fused = set(_inside_mixers(tower, tower_name))
    able = [
        name
        for name, module in linear.items()
        if module is not head
        and name not in fused
        and not (routed and (name in routed or name.rpartition(".")[2] in FEED_FORWARD))
    ]
    if not able:
        raise ModelError(f"{type(model).__name__} has no linear layer for LoRA")
    names = tuple(_chosen(able, chosen))
    total = sum(parameter.numel() for parameter in model.parameters())
    covered = sum(parameter.numel() for name in names for parameter in linear[name].parameters())
    kinds = {
        "the experts and their routers": bool(routed),
        "projections that fused kernels read directly": bool(fused),
        "everything but the text tower": tower is not model,
    }
    left_out = ", ".join(words for words, left in kinds.items() if left)
    return LoraLayers(names, covered / total, left_out)


def text_tower(model: nn.Module) -> tuple[str, nn.Module]:
    """The part of a model that reads text, with its name; for a model of text alone, the model, named ""."""
    config = getattr(model, "config", None)
    if config is None or config.get_text_config() is config:
        return "", model
    tower = model.get_decoder()
    return next(name for name, module in model.named_modules() if module is tower), tower


def last_block(model: nn.Module) -> nn.Module:
    """The last decoder block: the last element of the text tower's module list with the most parameters.

    If a model has LoRA, it is the last with LoRA: a block can consist of experts alone.
    """
    blocks = decoder_blocks(model)
    adapted = [block for block in blocks if any(hasattr(module, "lora_B") for module in block.modules())]
    return (adapted or blocks)[-1]


def decoder_blocks(model: nn.Module) -> list[nn.Module]:
    """The text tower's module list with the most parameters. Raises ModelError if it has none."""
    from torch import nn

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    tower = text_tower(base)[1]
    lists = [module for module in tower.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if not lists:
        raise ModelError(f"{type(base).__name__} has no list of decoder blocks")
    largest = max(lists, key=lambda module: sum(p.numel() for p in module.parameters()))
    return list(largest)


def _is_linear(module: nn.Module) -> bool:
    """Whether a layer is linear in each token; a grouped one gives each group of features its own weights."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D) and "Grouped" not in type(module).__name__


def _inside_experts(root: nn.Module, prefix: str) -> Iterator[str]:
    """Names of all modules inside routed experts and routers, these included."""
    for name, module in root.named_modules(prefix=prefix):
        if EXPERTS.search(type(module).__name__):
            yield from (inner for inner, _ in module.named_modules(prefix=name))


def _inside_mixers(root: nn.Module, prefix: str) -> Iterator[str]:
    """Names of the projections of state-space mixers: modules with parameters A_log and D."""
    for name, module in root.named_modules(prefix=prefix):
        own = {each for each, _ in module.named_parameters(recurse=False)}
        if {"A_log", "D"} <= own:
            yield from (f"{name}.{child}" for child, _ in module.named_children() if child in FUSED)


def _chosen(able: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """The layers that a user's choice names. Raises ModelError."""
    wanted = [name for name in chosen if not name.startswith("-")]
    unwanted = [name.removeprefix("-") for name in chosen if name.startswith("-")]
    for name in [*wanted, *unwanted]:
        if not any(_is_part(name, layer) for layer in able):
            kinds = ", ".join(dict.fromkeys(layer.rpartition(".")[2] for layer in able))
            raise ModelError(f"no layer that can have LoRA is called {name!r}; there are {kinds}")
    names = [
        layer
        for layer in able
        if (not wanted or any(_is_part(name, layer) for name in wanted))
        and not any(_is_part(name, layer) for name in unwanted)
    ]
    if not names:
        raise ModelError(f"lora_targets {', '.join(chosen)} leaves no layer for LoRA")
    return names


def _is_part(name: str, layer: str) -> bool:
    """Whether `name` is one or several whole parts of a layer's name: "mlp.up_proj" of "h.0.mlp.up_proj"."""
    return f".{name}." in f".{layer}."
