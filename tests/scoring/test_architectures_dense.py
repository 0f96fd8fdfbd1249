"""The effort of dense decoders against plain autograd, one sample at a time."""

import pytest

from tests.helpers.zoo import assert_scored_as_autograd, known

pytestmark = pytest.mark.long

ARCHITECTURES = (
    "apertus", "arcee", "bart", "biogpt", "bitnet", "blenderbot", "bloom", "codegen", "cohere",
    "cohere2", "cwm", "diffllama", "ernie4_5", "exaone4", "falcon", "gemma", "gemma2",
    "gemma3_text", "gemma3n_text", "glm", "glm4", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox",
    "gptj", "granite", "helium", "hunyuan_v1_dense", "jais2", "llama", "minicpm3", "ministral",
    "ministral3", "mistral", "modernbert-decoder", "mpt", "nanochat", "nemotron", "olmo", "olmo2",
    "olmo3", "openai-gpt", "opt", "pegasus", "persimmon", "phi", "phi3", "qwen2", "qwen3",
    "seed_oss", "smollm3", "stablelm", "starcoder2", "vaultgemma", "youtu",
)  # fmt: skip

CHANGES = {
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 97,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1], [["global"], 1]]},
    "minicpm3": {"num_key_value_heads": 4},
    "youtu": {"num_key_value_heads": 4},
}
"""What an architecture needs besides the common sizes."""


@pytest.mark.parametrize("name", known(ARCHITECTURES))
def test_the_effort_is_that_of_autograd_in_both_roles(name):
    assert_scored_as_autograd(name, **CHANGES.get(name, {}))


def test_the_sweep_is_wide():
    assert len(known(ARCHITECTURES)) >= 50
