"""The check of a model on two samples."""

import pytest
import torch

from staff_engine.errors import ModelError
from staff_engine.models import adapters
from staff_engine.scoring.check import check_positions, check_scoring
from tests.helpers.tiny import make_model, make_samples
from tests.helpers.zoo import make_bare

SAMPLES = make_samples((6, 9))


def lora(model):
    return adapters.add_lora(model, rank=4, alpha=8, seed=0)


def check(model, which="all"):
    check_scoring(lora(model), SAMPLES, name="some/model", which=which, pad_token_id=10**6)


@pytest.mark.parametrize("which", ["all", "last_block"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_model_that_can_be_scored_passes_in_every_format(dtype, which):
    check(make_model(dtype=dtype), which)


def test_a_model_whose_samples_influence_each_other_is_refused():
    model = make_model()
    block = model.model.layers[1]
    block.register_forward_hook(lambda layer, inputs, output: output + output.mean(dim=0, keepdim=True))
    with pytest.raises(
        ModelError, match=r"'some/model' \(LlamaForCausalLM\) cannot be scored: .* differ from"
    ):
        check(model)


def test_a_layer_that_sees_the_tokens_in_another_order_is_refused():
    model = make_model()
    layer = model.model.layers[1].mlp
    forward = layer.forward
    layer.forward = lambda x: forward(x.flip(1).transpose(0, 1)).transpose(0, 1).flip(1)
    with pytest.raises(ModelError, match="gradients of single samples differ from those of autograd by"):
        check(model)


def test_a_model_that_reads_what_follows_is_refused():
    model = make_model()
    model.model.layers[1].register_forward_hook(lambda layer, inputs, output: output + output.sum(1, True))
    with pytest.raises(
        ModelError, match=r"changes by .* with the samples beside it; a causal decoder is needed"
    ):
        check(model)


def test_weights_that_are_no_numbers_are_found_by_name():
    model = make_model()
    model.model.layers[1].mlp.up_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"not finite numbers, first in .*layers\.1\.mlp\.up_proj"):
        check(model)


def test_scores_that_overflow_name_the_number_format():
    model = make_model(dtype=torch.float16)
    model.model.norm.weight.data.fill_(6e4)
    with pytest.raises(ModelError, match=r"not finite numbers in torch\.float16; use dtype float32"):
        check(model)


def test_a_model_that_fails_is_one_line():
    model = make_model()
    model.model.layers[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ModelError, match="two samples on model 'some/model' cannot be scored: division"):
        check(model)


def test_positions_that_a_model_promises_and_does_not_have_are_found():
    model = lora(make_bare("gpt2"))
    check_positions(model, 128, "some/model")
    with pytest.raises(ModelError, match="an input of 129 tokens to model 'some/model' failed: index out"):
        check_positions(model, 129, "some/model")
