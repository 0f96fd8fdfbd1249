"""A model that is divided over processes; here over one, which takes the same way."""

import pytest
import torch
from torch import distributed

from staff_engine.models import adapters
from staff_engine.models.layers import decoder_blocks
from staff_engine.models.sharding import is_sharded, shard
from tests.helpers.tiny import make_model, make_scored_model

IDS = torch.tensor([[1, 5, 9]])


@pytest.fixture(autouse=True)
def group():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_a_divided_model_has_the_outputs_of_a_whole_one():
    whole, divided = make_scored_model(), shard(make_scored_model(), "cpu")
    torch.testing.assert_close(divided(IDS).logits, whole(IDS).logits)


@pytest.mark.parametrize("gradients", [True, False])
def test_a_block_is_whole_only_while_it_is_computed(gradients):
    model = shard(adapters.add_lora(make_model(), rank=4, alpha=8, seed=5), "cpu")
    blocks = decoder_blocks(model)
    seen = []
    for block in blocks:
        block.mlp.register_forward_hook(lambda *_: seen.append([is_sharded(each) for each in blocks]))
    with torch.set_grad_enabled(gradients):
        model(IDS)
    assert seen == [[other is not block for other in blocks] for block in blocks]
    assert all(is_sharded(block) for block in blocks)
