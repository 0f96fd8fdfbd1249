"""LoRA: add the matrices to a model, save and load them, and find those that are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from staff_engine.errors import ModelError
from staff_engine.models.layers import find_lora_layers, last_block
from staff_engine.models.loading import named_failure

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel


def add_lora(
    model: PreTrainedModel, *, rank: int, alpha: int, seed: int, targets: Sequence[str] = ()
) -> PeftModel:
    """Add new LoRA matrices to the linear layers of a model; see `layers` for those that get none.

    lora_A is drawn from Kaiming's uniform distribution with `seed`. lora_B is zero, so the output of
    the model does not change. `targets` chooses or excludes layers, as in `layers.find_lora_layers`.
    Raises ModelError if the model has no linear layer.
    """
    import torch
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=list(find_lora_layers(model, targets).names),
    )
    model.name_or_path = ""  # with a name, PEFT asks the hub for the newest commit when it saves an adapter
    with torch.random.fork_rng(), named_failure(type(model).__name__, "LoRA on"):
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Add a fine-tuned adapter to its base model. Raises ModelError if the adapter is damaged."""
    from peft import PeftModel

    with named_failure(str(folder), "adapter"):
        return PeftModel.from_pretrained(model, folder)


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write the LoRA matrices of a model to a folder in PEFT's format."""
    model.save_pretrained(str(folder))


def scored_layers(model: PeftModel, which: str) -> list[nn.Module]:
    """The lora_B layers whose gradient is the effort.

    Parameters
    ----------
    which
        "all", the learnable parameters φ of the paper (its lora_B half), or
        "last_block", those of the last decoder block, as in the released code.

    Raises
    ------
    ModelError
        If `which` is unknown, or there is no LoRA layer.
    """
    from peft.tuners.lora import LoraLayer

    if which not in SCORED:
        raise ModelError(f"scored_parameters is {which!r}; allowed: {', '.join(SCORED)}")
    root = SCORED[which](model)
    layers = [module.lora_B["default"] for module in root.modules() if isinstance(module, LoraLayer)]
    if not layers:
        raise ModelError(f"{type(root).__name__} has no LoRA layer to score")
    return layers


SCORED: dict[str, Callable[[nn.Module], nn.Module]] = {"all": lambda model: model, "last_block": last_block}
"""Name of scored parameters → function that returns this part of a model."""
