"""A model of a run as it scores: which one, and with which adapter. Every process of a run can load it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.models import adapters, loading
from staff_engine.models.devices import choose_device
from staff_engine.models.sharding import shard
from staff_engine.plan import Plan
from staff_engine.system import team

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class AdaptedModel:
    """A model with LoRA; it is loaded when `model` is first used."""

    plan: Plan
    name: str
    adapter: Path | None = None
    """The folder of a fine-tuned adapter. None: new LoRA matrices, which have no effect yet."""

    @cached_property
    def model(self) -> PeftModel:
        """The model, without gradients."""
        if self.adapter is None:
            model = fresh_lora(self.plan, self.name)
        else:
            base = load_base(self.plan, self.name)
            model = _placed(self.plan, self.name, adapters.load_adapter(base, self.adapter))
        model.requires_grad_(False)
        return model

    @property
    def sharded(self) -> bool:
        """Whether the model's weights are divided over the processes."""
        return sharded(self.plan, self.name)

    @property
    def weights(self) -> Path | None:
        """The file of the adapter's weights."""
        return self.adapter and self.adapter / WEIGHTS

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the weights: another process loads its own."""
        return {name: value for name, value in vars(self).items() if name != "model"}


def sharded(plan: Plan, name: str) -> bool:
    """Whether one of the plan's models is divided over the processes of the team."""
    return plan.shard_target and name == plan.target and team.size() > 1


def load_base(plan: Plan, name: str) -> PreTrainedModel:
    """Load one of the plan's models. Only the target is quantized and spread over GPUs.

    A model to be divided over the processes is in the memory of the processor.
    """
    of_target = {"quantize": plan.quantize, "device_map": plan.device_map} if name == plan.target else {}
    device = "cpu" if sharded(plan, name) else plan.device
    return loading.load_model(
        name, device=device, dtype=plan.dtype, attention=plan.attn_implementation, **of_target
    )


def fresh_lora(plan: Plan, name: str) -> PeftModel:
    """Load the untouched model with new LoRA matrices, which have no effect yet."""
    return _placed(plan, name, with_lora(plan, load_base(plan, name)))


def _placed(plan: Plan, name: str, model: PeftModel) -> PeftModel:
    return shard(model, choose_device(plan.device)) if sharded(plan, name) else model


def with_lora(plan: Plan, model: PreTrainedModel) -> PeftModel:
    """Add the plan's LoRA matrices to a model."""
    return adapters.add_lora(
        model, rank=plan.lora_rank, alpha=plan.lora_alpha, seed=plan.seed, targets=plan.lora_names
    )
