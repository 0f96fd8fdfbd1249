"""A fine-tuning step that is divided among processes has the gradient of an undivided one, bit for bit."""

import pytest
import torch
from safetensors.torch import load_file

from staff_engine.models import adapters
from staff_engine.models.divided import divided_step, own_parts
from staff_engine.models.finetune import finetune
from staff_engine.models.forward import pad, response_logits
from staff_engine.system import team
from tests.helpers.tiny import make_model, make_samples, make_scored_model

BATCH = make_samples((5, 12, 9, 30, 2, 17, 8))


SAMPLES = make_samples(tuple(range(6, 30)))


def train(folder, on_step=lambda step: True, **changes):
    model = adapters.add_lora(make_model(), rank=4, alpha=8, seed=5)
    settings = {"pad_token_id": 0, "epochs": 3, "batch_size": 4, "learning_rate": 1e-3, "seed": 5, **changes}
    lengths = [len(sample.input_ids) for sample in SAMPLES]
    return finetune(model, SAMPLES, lengths, folder, on_step=on_step, **settings)


def model_and_loss(dtype=torch.float64):
    model = make_scored_model(dtype=dtype)
    trained = [p.requires_grad_() for name, p in model.named_parameters() if "lora_" in name]

    def mean_loss(batch):
        logits, _ = response_logits(model, batch)
        return torch.nn.functional.cross_entropy(logits, batch.targets)

    return trained, mean_loss


def divided(trained, mean_loss, parts, **changes):
    for each in trained:
        each.grad = None
    divided = own_parts(BATCH, parts, pad_token_id=0, **changes)
    loss = divided_step(trained, divided, mean_loss, parts=parts, seed=1)
    return loss, [each.grad.clone() for each in trained]


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 9])
def test_the_gradient_is_that_of_the_whole_batch(parts):
    trained, mean_loss = model_and_loss()
    whole = mean_loss(pad(BATCH, pad_token_id=0))
    expected = torch.autograd.grad(whole, trained)
    loss, found = divided(trained, mean_loss, parts)
    assert float(loss) == pytest.approx(float(whole.detach()), rel=1e-6)  # the sums are float32
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("in_step", [False, True])
def test_several_processes_add_up_to_the_same_bits(monkeypatch, size, in_step):
    trained, mean_loss = model_and_loss(torch.float32)
    loss, expected = divided(trained, mean_loss, 4)
    tables, passes = [], []
    monkeypatch.setattr(team, "size", lambda: size)
    monkeypatch.setattr(team, "sum_over_all", tables.append)
    for rank in range(size):
        monkeypatch.setattr(team, "rank", lambda rank=rank: rank)
        counted = []
        divided(trained, lambda batch, c=counted: (c.append(1), mean_loss(batch))[1], 4, in_step=in_step)
        passes.append(len(counted))
    monkeypatch.setattr(team, "rank", lambda: 0)
    monkeypatch.setattr(team, "sum_over_all", lambda table: table.copy_(sum(tables)))
    again, found = divided(trained, mean_loss, 4, in_step=in_step)
    assert torch.equal(loss, again)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert sum(passes) == (size * -(-4 // size) if in_step else 4)
    assert len(set(passes)) == 1 or not in_step


def test_an_adapter_trained_in_parts_is_that_of_whole_batches_but_for_rounding(tmp_path):
    for parts in (1, 2):
        assert train(tmp_path / str(parts), parts=parts)
    one, two = (load_file(tmp_path / parts / "adapter_model.safetensors") for parts in ("1", "2"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4
    assert any(not torch.equal(one[name], two[name]) for name in one)  # it did make a difference


def test_a_training_in_parts_goes_on_after_a_stop_with_the_same_bits(tmp_path):
    assert train(tmp_path / "whole", parts=2)
    assert not train(tmp_path / "stopped", lambda step: step != 13, parts=2)
    assert train(tmp_path / "stopped", parts=2)
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_dropout_is_drawn_by_step_and_part():
    trained, mean_loss = model_and_loss(torch.float32)

    def noisy(batch):
        return mean_loss(batch) * torch.rand(())

    torch.manual_seed(5)
    first, _ = divided(trained, noisy, 3)
    torch.manual_seed(6)
    assert torch.equal(first, divided(trained, noisy, 3)[0])
