"""The effort of decoders with experts, state spaces, loops or a vision tower against plain autograd."""

import pytest

from staff_engine.errors import ModelError
from staff_engine.models.loading import load_model
from tests.helpers.zoo import LINEAR_ATTENTION, assert_scored_as_autograd, known, make_bare, make_config

pytestmark = pytest.mark.long

ARCHITECTURES = (
    "afmoe", "bamba", "cohere2_moe", "deepseek_v2", "deepseek_v3", "exaone_moe", "falcon_h1",
    "falcon_mamba", "flex_olmo", "gemma3", "glm4_moe", "gpt_oss", "granitemoe", "granitemoehybrid",
    "hrm_text", "hunyuan_v1_moe", "jamba", "jetmoe", "lfm2", "lfm2_moe", "llama4_text", "mamba",
    "mamba2", "minimax", "minimax_m2", "mixtral", "nemotron_h", "olmo_hybrid", "olmoe", "phimoe",
    "qwen2_moe", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_moe", "qwen3_next", "recurrent_gemma",
    "rwkv", "solar_open", "xlstm", "zamba2",
)  # fmt: skip

VISION = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip

CHANGES = {
    "deepseek_v2": {"num_key_value_heads": 4},
    "deepseek_v3": {"num_key_value_heads": 4},
    "falcon_h1": {"mamba_d_ssm": 64},
    "jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
        "mamba_dt_rank": 4,
    },
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "qwen3_5_moe_text": LINEAR_ATTENTION,
    "qwen3_5_text": LINEAR_ATTENTION,
    "qwen3_next": LINEAR_ATTENTION,
    "zamba2": {
        "hybrid_layer_ids": [1, 2], "layers_block_type": ["mamba", "hybrid", "hybrid"], "mamba_headdim": 8,
        "n_mamba_heads": 8, "attention_head_dim": 16, "attention_hidden_size": 64,
    },
}  # fmt: skip
"""What an architecture needs besides the common sizes."""

ENCODERS = (
    "bert", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "roberta", "roformer",
    "xlm-roberta",
)  # fmt: skip


def changes_of(name):
    if name == "gemma3":
        text = make_config("gemma3_text").to_dict()
        return {"text_config": text, "vision_config": VISION, "mm_tokens_per_image": 4}
    return CHANGES.get(name, {})


@pytest.mark.parametrize("name", known(ARCHITECTURES))
def test_the_effort_is_that_of_autograd_in_both_roles(name):
    assert_scored_as_autograd(name, **changes_of(name))


def test_the_sweep_is_wide():
    assert len(known(ARCHITECTURES)) >= 30


@pytest.mark.parametrize("name", known(ENCODERS))
def test_an_encoder_with_a_head_for_tokens_is_refused_in_one_line_when_it_is_loaded(tmp_path, name):
    make_bare(name).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"is an encoder .*; a causal decoder is needed") as caught:
        load_model(str(tmp_path), device="cpu")
    assert "\n" not in str(caught.value)
