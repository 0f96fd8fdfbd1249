"""Pairs of a small model and a target of one family, to choose from. No model is loaded.

Names, licences and access restrictions are those of the hub in 2025. The number of parameters is that of
the architecture built from the published configuration. Weights that input and output share count once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from staff_engine.models.devices import bytes_each
from staff_engine.models.loading import BUILTIN_FOLDER, builtin_models

FIRST_FAMILY = "llama"

SIZES = ("nano", "mini")
"""The small model and the target of a built-in family."""


@dataclass(frozen=True)
class Preset:
    """A pair of a small model and a target.

    Attributes
    ----------
    family
        Name of the model family for display.
    small, target
        Names for the plan: hub names or builtin:NAME.
    small_parameters, target_parameters
        Number of parameters.
    license
        Licences of both, by their names on the hub.
    gated
        Whether the hub requires users to accept terms before downloading one of them.
    note
        One sentence about the purpose of the pair.
    """

    family: str
    small: str
    target: str
    small_parameters: int
    target_parameters: int
    license: str
    gated: bool
    note: str


HUB_PRESETS = (
    Preset(
        "Gemma", "google/gemma-2b", "google/gemma-7b", 2_506_172_416, 8_537_680_896, "gemma", True,
        "A pair of the paper.",
    ),
    Preset(
        "Llama 2", "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf", 6_738_415_616, 13_015_864_320,
        "llama2", True, "A pair of the paper.",
    ),
    # Mistral gated both in 2024. If they are open now, asking for access is just unnecessary.
    Preset(
        "Mistral", "mistralai/Mistral-7B-v0.1", "mistralai/Mistral-Nemo-Base-2407", 7_241_732_096,
        12_247_782_400, "apache-2.0", True,
        "A pair of the paper, as base models. The two have different tokenizers.",
    ),
    Preset(
        "SmolLM2", "HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-360M", 134_515_008, 361_821_120,
        "apache-2.0", False, "Small enough for a machine without a GPU.",
    ),
    Preset(
        "SmolLM2", "HuggingFaceTB/SmolLM2-360M", "HuggingFaceTB/SmolLM2-1.7B", 361_821_120, 1_711_376_384,
        "apache-2.0", False, "The weights of the target take 3.4 GB in bfloat16.",
    ),
    Preset(
        "Qwen2.5", "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-7B", 494_032_768, 7_615_616_512, "apache-2.0", False,
        "Free access. The small model has a fifteenth of the target's parameters.",
    ),
    Preset(
        "Qwen3", "Qwen/Qwen3-0.6B-Base", "Qwen/Qwen3-8B-Base", 596_049_920, 8_190_735_360, "apache-2.0",
        False, "Free access. The small model has a fourteenth of the target's parameters.",
    ),
    Preset(
        "Llama 3", "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.1-8B", 1_235_814_400, 8_030_261_248,
        "llama3.2, llama3.1", True, "The small model was made from the target by pruning and distillation.",
    ),
    Preset(
        "Pythia", "EleutherAI/pythia-410m", "EleutherAI/pythia-6.9b", 405_334_016, 6_857_302_016,
        "apache-2.0", False, "For research: both were trained on the same data in the same order.",
    ),
)  # fmt: skip
"""Pairs of models on the hub."""


def presets() -> tuple[Preset, ...]:
    """All pairs, the built-in ones first."""
    return (*_builtin_presets(), *HUB_PRESETS)


def memory_bytes(parameters: int, dtype: str) -> int:
    """Memory in bytes of the weights of a model.

    Parameters
    ----------
    dtype
        As in the plan. "auto" counts as float32, its largest choice.

    Raises
    ------
    ModelError
        If the number format is unknown.
    """
    return parameters * bytes_each(dtype)


def _builtin_presets() -> Iterator[Preset]:
    """A pair for each built-in family with both sizes, the family of the demo first."""
    known = builtin_models()
    families = {name.rpartition("-")[0] for name in known}
    for family in sorted(families, key=lambda family: (family != FIRST_FAMILY, family)):
        small, target = (f"{family}-{size}" for size in SIZES)
        if small in known and target in known:
            yield Preset(
                f"{family.capitalize()}, built in",
                f"builtin:{small}",
                f"builtin:{target}",
                _count_parameters(BUILTIN_FOLDER / small / "model.safetensors"),
                _count_parameters(BUILTIN_FOLDER / target / "model.safetensors"),
                "mit",
                False,
                "Ships with STAFF Studio. Use it to try the app offline.",
            )


def _count_parameters(weights: Path) -> int:
    """Count the parameters in a safetensors file without reading them."""
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as file:
        return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
