"""Small models and samples that the tests make on the spot."""

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from staff_engine.data.tokens import EncodedSample, TokenTable
from staff_engine.models import adapters
from staff_engine.plan import Plan

VOCABULARY = 97

SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ARCHITECTURES = {
    "llama": SHAPE,
    "mistral": SHAPE,
    "qwen3": {**SHAPE, "head_dim": 6},
    "gemma3_text": {**SHAPE, "head_dim": 6, "final_logit_softcapping": 5.0, "sliding_window": 8},
    "gpt_neox": {**SHAPE},
    "gpt2": {
        "vocab_size": VOCABULARY,
        "n_embd": 24,
        "n_layer": 3,
        "n_head": 4,
        "n_positions": 128,
        "eos_token_id": 2,
    },
}


def make_model(architecture="llama", *, seed=0, dtype=torch.float32, **changes):
    """A randomly initialised model of a few thousand parameters."""
    settings = {**ARCHITECTURES.get(architecture, SHAPE), **changes}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **settings))
    return model.to(dtype).eval().requires_grad_(False)


def make_scored_model(architecture="llama", *, dtype=torch.float32, trained=True, **changes):
    """A tiny model with LoRA whose lora_B is not zero, as after a fine-tuning."""
    model = adapters.add_lora(make_model(architecture, dtype=dtype, **changes), rank=4, alpha=8, seed=3)
    if trained:
        generator = torch.Generator().manual_seed(4)
        for layer in adapters.scored_layers(model, "all"):
            layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.1)
    return model.to(dtype).requires_grad_(False)


def make_samples(lengths=(5, 12, 9, 30, 2), *, seed=0):
    """Random samples; the second half of each is its response."""
    rng = np.random.default_rng(seed)
    return [
        EncodedSample(rng.integers(3, VOCABULARY, n).tolist(), [place >= n // 2 for place in range(n)])
        for n in lengths
    ]


def make_tokenizer(**settings):
    """One token a character: the line feed is 3, a space 4, "a" 69; <pad> <s> </s> are 0 1 2."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    characters = [chr(code) for code in range(32, 32 + VOCABULARY - 4)]
    ids = {token: place for place, token in enumerate(["<pad>", "<s>", "</s>", "\n", *characters])}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=" "))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{**special, **settings})


def save_model(folder, architecture="llama", *, seed=0, **changes):
    """A tiny model and a tokenizer of one token a character, as a folder to load from."""
    make_tokenizer().save_pretrained(folder)
    make_model(architecture, seed=seed, **changes).save_pretrained(folder)
    return str(folder)


def make_tokens(lengths):
    samples = make_samples(lengths)
    return TokenTable(
        pa.table(
            {
                "row_id": np.arange(len(samples)),
                "input_ids": [list(sample.input_ids) for sample in samples],
                "response_mask": [list(sample.response_mask) for sample in samples],
                "cut": [False] * len(samples),
                "problem": pa.array([None] * len(samples), pa.string()),
            }
        )
    )


def make_plan(**changes):
    return Plan.make(**{"dataset": "d", "small": "s", "target": "t", "device": "cpu", **changes})
