"""Where LoRA sits, by the structure of a model."""

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from staff_engine.errors import ModelError
from staff_engine.models import adapters, layers
from tests.helpers.tiny import ARCHITECTURES, make_model
from tests.helpers.zoo import make_bare, make_config


def ends(found):
    return {name.rpartition(".")[2] for name in found.names}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_dense_model_of_text_has_lora_on_everything_but_its_head(architecture):
    model = make_model(architecture)
    found = layers.find_lora_layers(model)
    assert len(found.names) == 3 * {"gpt2": 4, "gpt_neox": 4}.get(architecture, 7)
    assert not any("lm_head" in name or "embed_out" in name for name in found.names)
    weights = sum(model.get_submodule(name).weight.numel() for name in found.names)
    biases = sum(
        p.numel()
        for name in found.names
        for n, p in model.get_submodule(name).named_parameters()
        if n == "bias"
    )
    assert found.share == pytest.approx((weights + biases) / sum(p.numel() for p in model.parameters()))
    assert found.left_out == ""


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "deepseek_v3", "llama4_text", "phimoe", "gpt_oss"])
def test_experts_and_their_routers_have_none_in_training_and_scoring_alike(name):
    changes = {"num_key_value_heads": 4} if name == "deepseek_v3" else {}
    model = make_bare(name, **changes)
    found = layers.find_lora_layers(model)
    assert all("attn" in each for each in found.names)
    assert found.left_out == "the experts and their routers"
    assert found.share < 0.5
    adapted = adapters.add_lora(model, rank=2, alpha=4, seed=0)
    trained = [name for name, _ in adapted.named_parameters() if "lora_B" in name]
    assert len(trained) == len(found.names) == len(adapters.scored_layers(adapted, "all"))


def test_the_adapter_of_a_model_with_experts_is_saved_and_loaded_as_it_was(tmp_path):
    def adapted():
        return adapters.add_lora(make_bare("qwen3_moe"), rank=2, alpha=4, seed=0)

    model = adapted()
    for layer in adapters.scored_layers(model, "all"):
        torch.nn.init.normal_(layer.weight, std=0.1)
    adapters.save_adapter(model, tmp_path)
    loaded = adapters.load_adapter(make_bare("qwen3_moe"), tmp_path)
    ids = torch.tensor([[1, 5, 9]])
    assert torch.equal(loaded(input_ids=ids).logits, model(input_ids=ids).logits)
    assert not torch.equal(adapted()(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("name", ["mamba", "mamba2", "falcon_mamba"])
def test_the_projections_that_a_state_space_kernel_reads_past_lora_have_none(name):
    changes = {"num_heads": 8, "head_dim": 8} if name == "mamba2" else {}
    found = layers.find_lora_layers(make_bare(name, **changes))
    assert ends(found) == {"in_proj"}
    assert found.left_out == "projections that fused kernels read directly"


@pytest.fixture(scope="module")
def multimodal():
    text = make_config("gemma3_text").to_dict()
    vision = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 5, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    config = CONFIG_MAPPING["gemma3"](text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return AutoModelForCausalLM.from_config(config)


def test_lora_and_the_last_block_of_a_multimodal_model_are_in_its_text_tower(multimodal):
    found = layers.find_lora_layers(multimodal)
    assert all("language_model" in name for name in found.names) and len(found.names) == 3 * 7
    assert found.left_out == "everything but the text tower"
    names = {module: name for name, module in multimodal.named_modules()}
    assert names[layers.last_block(multimodal)].endswith("language_model.layers.2")


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        (("q_proj", "v_proj"), {"q_proj", "v_proj"}),
        (("self_attn",), {"q_proj", "k_proj", "v_proj", "o_proj"}),
        (("-mlp",), {"q_proj", "k_proj", "v_proj", "o_proj"}),
        (("-self_attn", "-mlp.down_proj"), {"gate_proj", "up_proj"}),
        (("self_attn", "-o_proj"), {"q_proj", "k_proj", "v_proj"}),
    ],
)
def test_layers_are_chosen_and_excluded_by_parts_of_their_names(chosen, left):
    assert ends(layers.find_lora_layers(make_model(), chosen)) == left


def test_one_block_can_be_chosen():
    found = layers.find_lora_layers(make_model(), ("layers.1",))
    assert len(found.names) == 7 and all(".1." in name for name in found.names)


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        (("c_attn",), "no layer that can have LoRA is called 'c_attn'; there are q_proj, k_proj, v_proj,"),
        (("lm_head",), "no layer that can have LoRA is called 'lm_head'"),
        (("-proj",), "is called 'proj'"),
        (("mlp", "-mlp"), "lora_targets mlp, -mlp leaves no layer for LoRA"),
    ],
)
def test_a_choice_of_nothing_is_an_error_that_names_what_there_is(chosen, says):
    with pytest.raises(ModelError, match=says):
        layers.find_lora_layers(make_model(), chosen)
