"""The device and number format of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staff_engine.errors import ModelError

if TYPE_CHECKING:
    import torch

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""Number format of weights → bytes per number."""


def bytes_each(dtype: str) -> int:
    """Bytes per number of a number format.

    Parameters
    ----------
    dtype
        As in the plan. "auto" counts as float32, the larger of its two choices.

    Raises
    ------
    ModelError
        If the number format is unknown.
    """
    known = {"auto": BYTES["float32"], **BYTES}
    if dtype not in known:
        raise ModelError(f"dtype is {dtype!r}; allowed: {', '.join(known)}")
    return known[dtype]


def torch_dtype(dtype: str) -> torch.dtype:
    """A number format as a torch dtype. Raises ModelError if it is unknown."""
    import torch

    if dtype not in BYTES:
        raise ModelError(f"dtype is {dtype!r}; allowed: {', '.join(BYTES)}")
    return getattr(torch, dtype)


def choose_device(device: str) -> str:
    """Resolve `auto` to the first of cuda, mps and cpu that the machine has.

    Raises
    ------
    ModelError
        If the device is unknown or not available on this machine.
    """
    import torch

    available = ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available() + ["cpu"]
    if device == "auto":
        return available[0]
    kind, _, index = device.partition(":")
    if kind not in available or (index and (not index.isdigit() or int(index) >= torch.cuda.device_count())):
        raise ModelError(f"device is {device!r}; this machine has {', '.join(available)}")
    return device


def has_bfloat16(device: str) -> bool:
    """Whether a device computes in bfloat16 natively, without converting numbers to float32 first."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
