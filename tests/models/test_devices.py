"""Devices and number formats."""

from typing import get_args

import pytest
import torch

from staff_engine.errors import ModelError
from staff_engine.models import devices
from staff_engine.plan import Plan


@pytest.mark.parametrize("device", ["tpu", "cuda:77", "cpu:1"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ModelError, match=f"device is '{device}'; this machine has .*cpu"):
        devices.choose_device(device)


@pytest.mark.parametrize("dtype", devices.BYTES)
def test_a_number_format_has_as_many_bytes_as_in_torch(dtype):
    assert devices.torch_dtype(dtype).itemsize == devices.bytes_each(dtype)


def test_the_number_formats_are_those_of_the_plan():
    assert {*devices.BYTES, "auto"} == set(get_args(Plan.model_fields["dtype"].annotation))


def test_an_unknown_number_format_is_an_error():
    with pytest.raises(ModelError, match="dtype is 'auto'; allowed: float64, float32, bfloat16, float16"):
        devices.torch_dtype("auto")  # which is resolved before a model is loaded
    with pytest.raises(ModelError, match="dtype is 'int4'; allowed: auto, float64"):
        devices.bytes_each("int4")


def test_the_processor_is_always_there():
    assert devices.choose_device("cpu") == "cpu"
    assert devices.choose_device("auto").partition(":")[0] in ("cuda", "mps", "cpu")
    assert torch.device(devices.choose_device("auto"))
