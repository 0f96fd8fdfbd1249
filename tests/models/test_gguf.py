"""Weights in a .gguf file."""

import gguf
import numpy as np
import pytest
import torch

from staff_engine.models.loading import load_model

WIDTH, HIDDEN, BLOCKS, VOCABULARY = 16, 32, 2, 24
SHAPES = {
    "attn_norm": (WIDTH,),
    "attn_q": (WIDTH, WIDTH),
    "attn_k": (WIDTH, WIDTH),
    "attn_v": (WIDTH, WIDTH),
    "attn_output": (WIDTH, WIDTH),
    "ffn_norm": (WIDTH,),
    "ffn_gate": (HIDDEN, WIDTH),
    "ffn_up": (HIDDEN, WIDTH),
    "ffn_down": (WIDTH, HIDDEN),
}


@pytest.fixture
def weights():
    """The tensors of a small Llama model, by their names in the file."""
    shapes = {"token_embd": (VOCABULARY, WIDTH), "output_norm": (WIDTH,), "output": (VOCABULARY, WIDTH)}
    for block in range(BLOCKS):
        shapes |= {f"blk.{block}.{name}": shape for name, shape in SHAPES.items()}
    rng = np.random.default_rng(0)
    return {f"{name}.weight": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def file(tmp_path, weights):
    writer = gguf.GGUFWriter(str(tmp_path / "small.gguf"), "llama")
    writer.add_block_count(BLOCKS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(WIDTH // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    for name, values in weights.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "small.gguf"


def test_a_gguf_file_is_loaded_as_weights_that_gradients_pass_through(file, weights):
    model = load_model(str(file), device="cpu")
    loaded = model.get_submodule("model.layers.1.mlp.up_proj").weight
    np.testing.assert_allclose(loaded.detach().numpy(), weights["blk.1.ffn_up.weight"], rtol=1e-6)
    embedded = model.get_input_embeddings()(torch.tensor([[1, 2, 3]])).requires_grad_()
    model(inputs_embeds=embedded).logits.sum().backward()
    assert embedded.grad.abs().sum() > 0
