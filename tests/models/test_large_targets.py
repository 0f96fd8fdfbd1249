"""Quantized and spread targets, with stand-ins for what needs a GPU. No real weights are converted here."""

import pytest
import torch
import transformers

from staff_engine.errors import ModelError
from staff_engine.models import loading
from staff_engine.pipelines import adapted
from tests.helpers.tiny import make_model, make_plan, save_model


class Loaded(BaseException):
    """Carries the arguments that transformers would have received."""


@pytest.fixture
def folder(tmp_path):
    return save_model(tmp_path / "model")


@pytest.fixture
def arguments(monkeypatch):
    """What transformers is asked for, on a machine that seems to have a GPU and bitsandbytes."""

    def take(location, **given):
        raise Loaded(given)

    def of(name, **settings):
        with pytest.raises(Loaded) as caught:
            loading.load_model(name, **settings)
        return caught.value.args[0]

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", take)
    monkeypatch.setattr(loading, "choose_device", lambda device: "cuda:0")
    monkeypatch.setattr(loading, "find_spec", lambda name: object())
    return of


@pytest.mark.parametrize(
    ("quantize", "config"),
    [
        ("8bit", {"load_in_8bit": True}),
        (
            "4bit",
            {
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_compute_dtype": torch.bfloat16,
            },
        ),
    ],
)
def test_quantized_weights_are_converted_while_they_are_loaded(folder, arguments, quantize, config):
    given = arguments(folder, quantize=quantize, dtype="bfloat16")
    assert {name: getattr(given["quantization_config"], name) for name in config} == config
    assert given["device_map"] == {"": "cuda:0"}


def test_a_spread_model_is_placed_by_transformers(folder, arguments):
    assert arguments(folder, device_map="balanced")["device_map"] == "balanced"
    assert "device_map" not in arguments(folder)


def test_the_attention_is_passed_on_as_it_is(folder, arguments):
    assert arguments(folder, attention="flash_attention_2")["attn_implementation"] == "flash_attention_2"
    assert "attn_implementation" not in arguments(folder)


def test_without_a_gpu_quantizing_is_refused(folder):
    with pytest.raises(ModelError, match=r"quantize is .4bit., which needs a CUDA GPU .* the device is cpu"):
        loading.load_model(folder, device="cpu", quantize="4bit")
    with pytest.raises(ModelError, match="quantize is '2bit'; allowed: none, 8bit, 4bit"):
        loading.load_model(folder, device="cpu", quantize="2bit")


def test_an_attention_that_does_not_exist_is_one_line(folder):
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        loading.load_model(folder, device="cpu", attention="telepathy")
    assert "\n" not in str(caught.value)


def test_eager_attention_computes_the_same(folder):
    ids = torch.tensor([[1, 5, 9]])
    eager = loading.load_model(folder, device="cpu", attention="eager")
    assert eager.config._attn_implementation == "eager"
    torch.testing.assert_close(eager(input_ids=ids).logits, make_model()(input_ids=ids).logits)


def test_only_the_target_is_quantized_and_spread(monkeypatch):
    asked = {}
    monkeypatch.setattr(loading, "load_model", lambda name, **given: asked.setdefault(name, given))
    plan = make_plan(quantize="4bit", device_map="auto", attn_implementation="sdpa", dtype="bfloat16")
    for name in (plan.small, plan.target):
        adapted.load_base(plan, name)
    assert asked["s"] == {"device": "cpu", "dtype": "bfloat16", "attention": "sdpa"}
    assert asked["t"] == {**asked["s"], "quantize": "4bit", "device_map": "auto"}
