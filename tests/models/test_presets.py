"""Presets: names, counts and terms of pairs of models; nothing is downloaded."""

import dataclasses

import pytest

from staff_engine.errors import ModelError
from staff_engine.models import loading
from staff_engine.models.presets import HUB_PRESETS, Preset, memory_bytes, presets
from staff_engine.plan import Plan


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: f"{preset.small}-{preset.target}")
def test_a_preset_is_a_pair_that_a_plan_takes(preset):
    plan = Plan.make(dataset="data.jsonl", small=preset.small, target=preset.target)
    assert (plan.small, plan.target) == (preset.small, preset.target)
    assert 0 < preset.small_parameters < preset.target_parameters
    assert preset.small != preset.target
    assert preset.license and preset.license == preset.license.lower()
    assert preset.note.endswith(".")


@pytest.mark.parametrize("preset", HUB_PRESETS, ids=lambda preset: preset.small)
def test_a_hub_name_is_an_owner_and_a_name(preset):
    for name in (preset.small, preset.target):
        owner, slash, model = name.partition("/")
        assert owner and slash and model and "/" not in model and " " not in name
    assert preset.small.partition("/")[0] == preset.target.partition("/")[0]


def test_a_gate_goes_with_the_terms():
    gated = {preset.small.partition("/")[0] for preset in presets() if preset.gated}
    assert gated == {"google", "meta-llama", "mistralai"}
    assert {p.license for p in presets() if not p.gated} <= {"apache-2.0", "mit"}


def test_the_families_are_those_of_the_paper_and_the_common_open_ones():
    families = {preset.family for preset in HUB_PRESETS}
    assert families == {"Gemma", "Llama 2", "Mistral", "SmolLM2", "Qwen2.5", "Qwen3", "Llama 3", "Pythia"}
    assert len({(preset.small, preset.target) for preset in presets()}) == len(presets())


def test_the_size_in_a_name_is_near_the_count():
    sizes = {"Nemo": 12.2e9}
    for preset in HUB_PRESETS:
        pairs = (preset.small, preset.small_parameters), (preset.target, preset.target_parameters)
        for name, count in pairs:
            said = next((size for word, size in sizes.items() if word in name), None) or _size_in(name)
            assert count == pytest.approx(said, rel=0.26), name  # Gemma counts without the vocabulary


def _size_in(name):
    import re

    number, unit = re.search(r"-(\d+(?:\.\d+)?)([bm])(?:-|$)", name.lower()).groups()
    return float(number) * {"b": 1e9, "m": 1e6}[unit]


def test_the_built_in_family_comes_first_with_the_counts_of_its_weights():
    first = presets()[0]
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
    assert presets() == HUB_PRESETS


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
        HUB_PRESETS[0].small = "another"
    assert isinstance(HUB_PRESETS[0], Preset)
