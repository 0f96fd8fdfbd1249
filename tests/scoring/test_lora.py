"""LoRA layers while they are scored compute what PEFT's own do, and leave nothing behind."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from staff_engine.models import adapters
from staff_engine.scoring.lora import SquaredGradients, WatchedLora
from tests.helpers.score_oracle import FLOAT64_TOLERANCE, oracle, score, table
from tests.helpers.tiny import ARCHITECTURES, make_model, make_samples, make_scored_model

IDS = torch.tensor([[1, 5, 6, 7], [1, 9, 8, 4]])


def outputs(model):
    gradients = SquaredGradients(2, dtype=torch.float64, device=torch.device("cpu"))
    with WatchedLora(model, ()).recording(gradients):
        return model.get_base_model()(input_ids=IDS).logits


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_model_computes_what_it_does_with_peft(architecture, trained):
    model = make_scored_model(architecture, dtype=torch.float64, trained=trained)
    expected = model(input_ids=IDS).logits
    np.testing.assert_allclose(outputs(model), expected, rtol=1e-9)
    if trained:
        with model.disable_adapter():
            assert not torch.allclose(model(input_ids=IDS).logits, expected)


def test_a_layer_that_is_more_than_lora_is_left_to_peft_and_scored_all_the_same():
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear", use_dora=True)
    model = get_peft_model(make_model(dtype=torch.float64), config).to(torch.float64).eval()
    generator = torch.Generator().manual_seed(4)
    for layer in adapters.scored_layers(model, "all"):
        layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.1)
    model.requires_grad_(False)
    samples = make_samples()
    np.testing.assert_allclose(table(score(model, samples)), oracle(model, samples), rtol=FLOAT64_TOLERANCE)


def test_layers_whose_product_is_zero_compute_no_product_but_where_they_are_scored():
    model = make_scored_model(trained=False)
    used = []
    for name, module in model.named_modules():
        if name.endswith("lora_A.default"):
            module.weight.data.fill_(float("nan"))  # 0 times this is no number
            used.append(name)
    assert used and outputs(model).isfinite().all()
    assert not model(input_ids=IDS).logits.isfinite().all()


def test_a_half_precision_model_scores_near_a_single_precision_one_with_single_precision_matrices():
    samples = make_samples(tuple(range(4, 44)))
    single = score(make_scored_model(), samples).effort
    model = make_scored_model()
    for name, weight in model.named_parameters():
        if "lora_" not in name:
            weight.data = weight.data.bfloat16()
    half = score(model, samples).effort
    assert not np.array_equal(half, single)
    np.testing.assert_allclose(half, single, rtol=0.05)


def test_a_layer_that_is_called_several_times_has_one_gradient_the_sum_of_its_calls():
    model = make_scored_model(dtype=torch.float64)
    blocks = model.get_base_model().model.layers
    blocks[2] = blocks[1]  # the second block is called twice
    samples = make_samples()
    looped = score(model, samples).effort
    np.testing.assert_allclose(looped, oracle(model, samples)[:, 0], rtol=FLOAT64_TOLERANCE)
    assert (score(model, samples, "last_block").effort < looped).all()


def test_calls_without_a_gradient_are_not_counted():
    model = make_scored_model(dtype=torch.float64)
    inner = model.get_base_model().model.layers[0]
    forward = inner.forward

    def twice(*arguments, **named):
        with torch.no_grad():
            forward(*arguments, **named)
        return forward(*arguments, **named)

    samples = make_samples()
    expected = score(model, samples).effort
    inner.forward = twice
    np.testing.assert_array_equal(score(model, samples).effort, expected)


def test_a_model_that_changes_the_output_of_its_first_layer_in_place_is_scored():
    model = make_scored_model(dtype=torch.float64)
    first = model.get_base_model().model.layers[0].self_attn.q_proj
    samples = make_samples()
    handle = first.register_forward_hook(lambda layer, inputs, output: output.mul_(2))
    found = score(model, samples).effort
    np.testing.assert_allclose(found, oracle(model, samples)[:, 0], rtol=FLOAT64_TOLERANCE)
    handle.remove()
    assert not np.allclose(found, score(model, samples).effort)
