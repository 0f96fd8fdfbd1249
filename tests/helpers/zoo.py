"""Decoders of many architectures, tiny and random, from transformers' own configuration classes."""

import inspect

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from staff_engine.models import adapters
from tests.helpers.score_oracle import FLOAT32_TOLERANCE, FLOAT64_TOLERANCE, effort_oracle, score
from tests.helpers.tiny import VOCABULARY, make_samples

SIZES = {
    "vocab_size": VOCABULARY, "max_position_embeddings": 128, "max_seq_len": 128, "n_positions": 128,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "hidden_size": 32, "n_embd": 32, "d_model": 32, "word_embed_proj_dim": 32, "attention_hidden_size": 32,
    "intermediate_size": 48, "ffn_dim": 48, "decoder_ffn_dim": 48, "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "num_hidden_layers": 3, "num_layers": 3, "n_layer": 3, "n_layers": 3, "decoder_layers": 3,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "decoder_attention_heads": 4, "num_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "rotary_dim": 4,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4,
    "num_experts_per_tok": 2, "moe_k": 2, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "sliding_window": 8, "state_size": 8, "time_step_rank": 4, "mamba_d_state": 8, "mamba_n_heads": 8,
    "mamba_d_head": 8, "mamba_n_groups": 1, "n_groups": 1,
}  # fmt: skip
"""What makes a configuration small, by the names that the architectures use."""

LINEAR_ATTENTION = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
}  # fmt: skip


def known(names):
    """Those of the names that the installed transformers has."""
    return [name for name in names if name in CONFIG_MAPPING]


def make_config(name, **changes):
    kind = CONFIG_MAPPING[name]
    known = inspect.signature(kind.__init__).parameters
    return kind(**{**{key: value for key, value in SIZES.items() if key in known}, **changes})


def make_bare(name, *, dtype=torch.float32, seed=0, **changes):
    """A frozen random model of an architecture, with experts computed one by one, which float64 needs."""
    with torch.random.fork_rng(), Exact(dtype):
        torch.manual_seed(seed)
        config = make_config(name, **changes)
        config._experts_implementation = "eager"
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(dtype)
        for parameter in model.parameters():
            if not parameter.isfinite().all():  # torch.empty, which a checkpoint would fill
                torch.nn.init.normal_(parameter, std=0.02)
    return model.eval().requires_grad_(False)


def make_zoo_model(name, *, dtype=torch.float32, trained, **changes):
    """The model in one of its roles: fine-tuned as the small model, or untouched as the target."""
    model = adapters.add_lora(make_bare(name, dtype=dtype, **changes), rank=4, alpha=8, seed=3)
    if trained:
        generator = torch.Generator().manual_seed(4)
        for layer in adapters.scored_layers(model, "all"):
            layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.1)
    return model.to(dtype).requires_grad_(False)


class Exact(TorchFunctionMode):
    """Within the block, what an architecture would round to float32 stays float64.

    Most normalize and take their softmax in float32. A difference of 1e-16 before such a rounding can be
    6e-8 behind it, which would hide errors of that size.
    """

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.dtype == torch.float64:
            if func is torch.Tensor.float:
                func = torch.Tensor.double
            args = tuple(map(_widened, args))
            kwargs = {key: _widened(value) for key, value in kwargs.items()}
        return func(*args, **kwargs)


def _widened(value):
    return torch.float64 if value is torch.float32 else value


ROLES = {"small": True, "target": False}
"""Role of a model → whether its LoRA is trained."""

SAMPLES = make_samples((5, 12, 17, 2))
"""Of different lengths; one is longer than the window of sliding attention."""


def assert_scored_as_autograd(name, **changes):
    """In both number formats, both roles and both choices of parameters."""
    for dtype, tolerance in ((torch.float32, FLOAT32_TOLERANCE), (torch.float64, FLOAT64_TOLERANCE)):
        for role, trained in ROLES.items():
            with Exact(dtype):
                model = make_zoo_model(name, dtype=dtype, trained=trained, **changes)
                for which in adapters.SCORED:
                    found = score(model, SAMPLES, which).effort
                    expected = effort_oracle(model, SAMPLES, which)
                    said = f"{name} as {role}, {which}, {dtype}"
                    np.testing.assert_allclose(found, expected, rtol=tolerance, err_msg=said)
                    assert found.min() > 0, said
