"""Pairs of a small model and a target of one family, to choose from. No model is loaded.

Names, licences and access restrictions are those of the hub in 2026. The number of parameters is that of
the architecture built from the published configuration; for Qwen3.5 and Gemma 4 it is the number on the
card, rounded. Weights that input and output share count once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from staff_engine.models.devices import bytes_each
from staff_engine.models.sources import BUILTIN_FOLDER, builtin_models

FIRST_FAMILY = "llama"

SIZES = ("nano", "mini")
"""The small model and the target of a built-in family."""


@dataclass(frozen=True)
class ModelPair:
    """A pair of a small model and a target.

    Attributes
    ----------
    family
        Name of the model family for display.
    small, target
        Names for the plan: hub names or builtin:NAME.
    small_parameters, target_parameters
        Number of parameters.
    context
        Tokens that both can read.
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
    context: int
    license: str
    gated: bool
    note: str


HUB_PAIRS = (
    ModelPair(
        "Qwen3", "Qwen/Qwen3-0.6B-Base", "Qwen/Qwen3-8B-Base",
        596_049_920, 8_190_735_360, 32_768, "apache-2.0", False,
        "Free access. The small model has a fourteenth of the target's parameters.",
    ),
    ModelPair(
        "Qwen3.5", "Qwen/Qwen3.5-0.8B-Base", "Qwen/Qwen3.5-9B-Base",
        900_000_000, 9_700_000_000, 262_144, "apache-2.0", False,
        "Multimodal; LoRA is in the text part. Three of four layers have linear attention.",
    ),
    ModelPair(
        "Gemma 3", "google/gemma-3-1b-pt", "google/gemma-3-12b-pt",
        999_885_952, 12_187_325_040, 32_768, "gemma", True,
        "The target also reads images; LoRA is in its text part.",
    ),
    ModelPair(
        "Gemma 4", "google/gemma-4-E2B", "google/gemma-4-31B",
        5_100_000_000, 30_700_000_000, 131_072, "apache-2.0", False,
        "Multimodal; LoRA is in the text part. More than half of the small model are embeddings.",
    ),
    ModelPair(
        "Llama 3", "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.1-8B",
        1_235_814_400, 8_030_261_248, 131_072, "llama3.2, llama3.1", True,
        "The small model was made from the target by pruning and distillation.",
    ),
    ModelPair(
        "SmolLM3", "HuggingFaceTB/SmolLM2-360M", "HuggingFaceTB/SmolLM3-3B-Base",
        361_821_120, 3_075_098_624, 8_192, "apache-2.0", False,
        "SmolLM3 has one size, so the small model is of the generation before, with another tokenizer.",
    ),
    ModelPair(
        "OLMo 2", "allenai/OLMo-2-0425-1B", "allenai/OLMo-2-1124-7B",
        1_484_916_736, 7_298_617_344, 4_096, "apache-2.0", False,
        "For research: training data and all checkpoints are public.",
    ),
    ModelPair(
        "OLMo 3", "allenai/Olmo-3-1025-7B", "allenai/Olmo-3-1125-32B",
        7_298_011_136, 32_233_522_176, 65_536, "apache-2.0", False,
        "For research, for machines with several GPUs.",
    ),
    ModelPair(
        "Phi-4", "microsoft/Phi-4-mini-instruct", "microsoft/phi-4",
        3_836_021_760, 14_659_507_200, 16_384, "mit", False,
        "Chat models. The two have different tokenizers.",
    ),
    ModelPair(
        "SmolLM2", "HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-360M",
        134_515_008, 361_821_120, 8_192, "apache-2.0", False,
        "Small enough for a machine without a GPU.",
    ),
    ModelPair(
        "SmolLM2", "HuggingFaceTB/SmolLM2-360M", "HuggingFaceTB/SmolLM2-1.7B",
        361_821_120, 1_711_376_384, 8_192, "apache-2.0", False,
        "The weights of the target take 3.4 GB in bfloat16.",
    ),
    ModelPair(
        "Qwen2.5", "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-7B",
        494_032_768, 7_615_616_512, 32_768, "apache-2.0", False,
        "Free access. The small model has a fifteenth of the target's parameters.",
    ),
    ModelPair(
        "Pythia", "EleutherAI/pythia-410m", "EleutherAI/pythia-6.9b",
        405_334_016, 6_857_302_016, 2_048, "apache-2.0", False,
        "For research: both were trained on the same data in the same order.",
    ),
    ModelPair(
        "Gemma", "google/gemma-2b", "google/gemma-7b",
        2_506_172_416, 8_537_680_896, 8_192, "gemma", True,
        "A pair of the paper.",
    ),
    ModelPair(
        "Llama 2", "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf",
        6_738_415_616, 13_015_864_320, 4_096, "llama2", True,
        "A pair of the paper.",
    ),
    # Mistral gated both in 2024. If they are open now, asking for access is just unnecessary.
    ModelPair(
        "Mistral", "mistralai/Mistral-7B-v0.1", "mistralai/Mistral-Nemo-Base-2407",
        7_241_732_096, 12_247_782_400, 32_768, "apache-2.0", True,
        "A pair of the paper, as base models. The two have different tokenizers.",
    ),
)  # fmt: skip
"""Pairs of models on the hub."""


def model_pairs() -> tuple[ModelPair, ...]:
    """All pairs, the built-in ones first."""
    return (*_builtin_pairs(), *HUB_PAIRS)


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


def _builtin_pairs() -> Iterator[ModelPair]:
    """A pair for each built-in family with both sizes, the family of the demo first."""
    known = builtin_models()
    families = {name.rpartition("-")[0] for name in known}
    for family in sorted(families, key=lambda family: (family != FIRST_FAMILY, family)):
        small, target = (f"{family}-{size}" for size in SIZES)
        if small in known and target in known:
            yield ModelPair(
                f"{family.capitalize()}, built in",
                f"builtin:{small}",
                f"builtin:{target}",
                _count_parameters(BUILTIN_FOLDER / small / "model.safetensors"),
                _count_parameters(BUILTIN_FOLDER / target / "model.safetensors"),
                min(_context(small), _context(target)),
                "mit",
                False,
                "Ships with STAFF Studio. Use it to try the app offline.",
            )


def _context(name: str) -> int:
    """Tokens that a built-in model can read."""
    config = json.loads((BUILTIN_FOLDER / name / "config.json").read_text(encoding="utf-8"))
    return int(config["max_position_embeddings"])


def _count_parameters(weights: Path) -> int:
    """Count the parameters in a safetensors file without reading them."""
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as file:
        return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
