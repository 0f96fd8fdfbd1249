"""Models that cannot fit into memory are refused before their weights are loaded."""

import pytest

from staff_engine.errors import ModelError
from staff_engine.models import sizes
from tests.helpers.tiny import make_model, save_model


@pytest.fixture(scope="module")
def name(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("sizes"))


def test_weights_are_counted_from_the_headers(name):
    model = make_model()
    stored = {id(parameter): parameter.numel() for parameter in model.parameters()}  # tied weights once
    assert sizes.count_weights(name) == sum(stored.values())


def test_a_model_larger_than_the_memory_is_refused_with_what_to_do(name, monkeypatch):
    count = sizes.count_weights(name)
    monkeypatch.setattr(sizes, "device_memory", lambda device: 4 * count - 1)
    with pytest.raises(ModelError, match="processes 2 and shard_target"):
        sizes.check_fit(name, device="cpu", dtype="float32")
    sizes.check_fit(name, device="cpu", dtype="bfloat16")
    sizes.check_fit(name, device="cpu", dtype="float32", quantize="8bit")
    sizes.check_fit(name, device="cpu", dtype="float32", processes=2)


def test_a_model_without_safetensors_is_not_judged(tmp_path, monkeypatch):
    folder = save_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    monkeypatch.setattr(sizes, "device_memory", lambda device: 1)
    assert sizes.count_weights(folder) is None
    sizes.check_fit(folder, device="cpu", dtype="float32")
