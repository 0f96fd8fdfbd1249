"""Whether the weights of a model fit into memory, from the shapes in its files, before they are loaded."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from staff_engine.errors import ModelError
from staff_engine.models.devices import bytes_each, choose_device
from staff_engine.models.sources import find_model
from staff_engine.system.words import size_in_words

QUANTIZED = {"8bit": 1.0, "4bit": 0.5}
"""Quantization → bytes per weight."""

HEADER = struct.Struct("<Q")
"""The length of the header with which a safetensors file begins."""


def count_weights(name: str) -> int | None:
    """The number of weights of a model; None for a model that is not in a local folder of safetensors."""
    source = find_model(name)
    files = sorted(Path(source.location).glob("*.safetensors"))
    if source.gguf_file or not files:
        return None
    return sum(map(_numbers_in, files))


def check_fit(name: str, *, device: str, dtype: str, quantize: str = "none", processes: int = 1) -> None:
    """Refuse a model whose weights alone are larger than the memory of the device.

    Parameters
    ----------
    device, dtype, quantize
        As in the plan.
    processes
        Over how many processes, on a device each, the weights are divided.

    Raises
    ------
    ModelError
        With what is needed, what there is, and what to do.
    """
    count = count_weights(name)
    if count is None:
        return
    needed = count * QUANTIZED.get(quantize, bytes_each(dtype)) / processes
    chosen = choose_device(device)
    there = device_memory(chosen)
    if needed > there:
        gpus = math.ceil(count * bytes_each(dtype) / (0.8 * there))
        raise ModelError(
            f"the weights of {name!r} need {size_in_words(round(needed))}, and {chosen} has"
            f" {size_in_words(there)}; divide them over GPUs (processes {gpus} and shard_target, or"
            " device_map auto), use dtype bfloat16 or quantize, or choose a smaller model"
        )


def device_memory(device: str) -> int:
    """Memory of a device in bytes: of a GPU, or of this machine."""
    import psutil
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def _numbers_in(file: Path) -> int:
    """The numbers in a safetensors file, from its header."""
    with file.open("rb") as opened:
        (length,) = HEADER.unpack(opened.read(HEADER.size))
        header = json.loads(opened.read(length))
    return sum(math.prod(facts["shape"]) for name, facts in header.items() if name != "__metadata__")
