"""LoRA: where it is added, how it is drawn, kept and scored."""

from typing import get_args

import pytest
import torch

from staff_engine.errors import ModelError
from staff_engine.models import adapters, layers
from staff_engine.plan import Plan
from tests.helpers.tiny import ARCHITECTURES, make_model, make_scored_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lora_goes_on_every_linear_layer_but_the_head_and_changes_nothing_yet(architecture):
    plain, adapted = make_model(architecture), make_scored_model(architecture, trained=False)
    ids = torch.tensor([[1, 5, 9]])
    assert torch.equal(plain(input_ids=ids).logits, adapted(input_ids=ids).logits)
    blocks = 3
    per_block = {"gpt2": 4, "gpt_neox": 4}.get(architecture, 7)
    assert len(adapters.scored_layers(adapted, "all")) == blocks * per_block
    assert len(adapters.scored_layers(adapted, "last_block")) == per_block


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_last_block_is_found_by_structure(architecture):
    model = make_model(architecture)
    names = {module: name for name, module in model.named_modules()}
    assert names[layers.last_block(model)].endswith(".2")


def test_the_same_seed_draws_the_same_lora():
    def draw(seed):
        adapted = adapters.add_lora(make_model(), rank=4, alpha=8, seed=seed)
        return next(weight for name, weight in adapted.named_parameters() if "lora_A" in name)

    state = torch.get_rng_state()
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_saved_adapter_is_loaded_as_it_was(tmp_path):
    model = make_scored_model("llama")
    adapters.save_adapter(model, tmp_path)
    loaded = adapters.load_adapter(make_model("llama"), tmp_path)
    ids = torch.tensor([[1, 5, 9]])
    assert torch.equal(loaded(input_ids=ids).logits, model(input_ids=ids).logits)


def test_a_damaged_adapter_is_an_error_of_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"adapter .* cannot be loaded") as caught:
        adapters.load_adapter(make_model(), tmp_path)
    assert "\n" not in str(caught.value)


def test_the_parts_that_can_be_scored_are_those_of_the_plan_and_no_other_name_stands_for_one():
    assert set(adapters.SCORED) == set(get_args(Plan.model_fields["scored_parameters"].annotation))
    with pytest.raises(ModelError, match="scored_parameters is 'first_block'; allowed: all, last_block"):
        adapters.scored_layers(make_scored_model("llama"), "first_block")
