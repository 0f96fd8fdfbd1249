"""A model that is too large for one GPU: its frozen weights are divided over all processes (FSDP).

Only the decoder blocks are divided; a block is put together on every process while it is computed.
Embeddings, output layer and LoRA matrices are whole in each process, so gradients are those of an undivided
model. All processes must run the model equally often, at the same time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from staff_engine.models.layers import decoder_blocks
from staff_engine.system import team

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from torch.distributed.device_mesh import DeviceMesh


def shard(model: PeftModel, device: str) -> PeftModel:
    """Divide the weights of a model, which is in the memory of the processor, over the team. In place.

    Parameters
    ----------
    model
        With LoRA, its other weights frozen. The same in every process.
    device
        Where this process computes.
    """
    import torch
    from torch.distributed.fsdp import fully_shard

    mesh = _mesh(torch.device(device).type)
    blocks = decoder_blocks(model)
    lora = {parameter for name, parameter in model.named_parameters() if "lora_" in name}
    inside = {parameter for block in blocks for parameter in block.parameters()} - lora
    _move(model, inside, torch.device(device))
    for block in blocks:
        # By default, FSDP keeps an outermost module whole after its forward pass, and each block is one.
        fully_shard(
            block, mesh=mesh, reshard_after_forward=True, ignored_params=lora & set(block.parameters())
        )
    return model


@cache
def _mesh(kind: str) -> DeviceMesh:
    """All processes, in one line. Made once: each mesh has process groups, which count in every process."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(kind, (team.size(),))


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether the weights of a model are divided over processes."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def _move(model: torch.nn.Module, without: set[torch.nn.Parameter], device: torch.device) -> None:
    """Move all weights and buffers but some weights to a device."""
    for parameter in model.parameters():
        if parameter not in without:
            parameter.data = parameter.data.to(device)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.to(device)
