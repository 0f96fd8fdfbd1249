"""Presets: names, counts and terms of pairs of models; nothing is downloaded."""

import dataclasses

import pytest

from staff_engine.errors import ModelError
from staff_engine.models import loading
from staff_engine.models.presets import HUB_PAIRS, ModelPair, memory_bytes, model_pairs
from staff_engine.plan import Plan


@pytest.mark.parametrize("preset", model_pairs(), ids=lambda preset: f"{preset.small}-{preset.target}")
def test_a_preset_is_a_pair_that_a_plan_takes(preset):
    plan = Plan.make(dataset="data.jsonl", small=preset.small, target=preset.target)
    assert (plan.small, plan.target) == (preset.small, preset.target)
    assert 0 < preset.small_parameters < preset.target_parameters
    assert preset.small != preset.target
    assert preset.license and preset.license == preset.license.lower()
    assert preset.note.endswith(".")
    assert 512 <= preset.context <= 2**20


@pytest.mark.parametrize("preset", HUB_PAIRS, ids=lambda preset: preset.small)
def test_a_hub_name_is_an_owner_and_a_name(preset):
    for name in (preset.small, preset.target):
        owner, slash, model = name.partition("/")
        assert owner and slash and model and "/" not in model and " " not in name
    assert preset.small.partition("/")[0] == preset.target.partition("/")[0]


def test_a_gate_goes_with_the_terms():
    gated = {preset.small.partition("/")[0] for preset in model_pairs() if preset.gated}
    assert gated == {"google", "meta-llama", "mistralai"}
    assert {p.license for p in model_pairs() if not p.gated} <= {"apache-2.0", "mit"}


def test_the_families_are_those_of_the_paper_and_the_common_open_ones():
    families = {preset.family for preset in HUB_PAIRS}
    assert families >= {"Gemma", "Llama 2", "Mistral"}  # the paper's
    assert families >= {
        "Qwen3",
        "Qwen3.5",
        "Gemma 3",
        "Gemma 4",
        "Llama 3",
        "SmolLM3",
        "OLMo 2",
        "OLMo 3",
        "Phi-4",
    }
    assert len({(preset.small, preset.target) for preset in model_pairs()}) == len(model_pairs())


def test_the_size_in_a_name_is_near_the_count():
    sizes = {"Nemo": 12.2e9, "E2B": 5.1e9, "Phi-4-mini": 3.8e9, "phi-4": 14.7e9, "OLMo-2-0425-1B": 1.48e9}
    for preset in HUB_PAIRS:
        pairs = (preset.small, preset.small_parameters), (preset.target, preset.target_parameters)
        for name, count in pairs:
            said = next((size for word, size in sizes.items() if word in name), None) or _size_in(name)
            assert count == pytest.approx(said, rel=0.26), name  # Gemma counts without the vocabulary


def _size_in(name):
    import re

    number, unit = re.search(r"-(\d+(?:\.\d+)?)([bm])(?:-|$)", name.lower()).groups()
    return float(number) * {"b": 1e9, "m": 1e6}[unit]


def test_the_built_in_family_comes_first_with_the_counts_of_its_weights():
    first = model_pairs()[0]
    assert (first.small, first.target) == ("builtin:llama-nano", "builtin:llama-mini")
    assert not first.gated
    for name, count in (
        (first.small, first.small_parameters),
        (first.target, first.target_parameters),
    ):
        model = loading.load_model(name, device="cpu", dtype="float32")
        assert count == sum(parameter.numel() for parameter in model.parameters())


def test_a_family_of_one_size_is_no_pair(monkeypatch):
    monkeypatch.setattr("staff_engine.models.presets.builtin_models", lambda: ["lone-nano", "other-mini"])
    assert model_pairs() == HUB_PAIRS


@pytest.mark.parametrize(
    ("dtype", "bytes_each"), [("float32", 4), ("bfloat16", 2), ("float16", 2), ("float64", 8), ("auto", 4)]
)
def test_the_memory_of_weights_is_their_count_times_their_width(dtype, bytes_each):
    assert memory_bytes(1000, dtype) == 1000 * bytes_each


def test_an_unknown_number_format_is_named():
    with pytest.raises(ModelError, match="'int4'; allowed: auto, float64"):
        memory_bytes(1, "int4")


def test_a_preset_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        HUB_PAIRS[0].small = "another"
    assert isinstance(HUB_PAIRS[0], ModelPair)
