import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import make_model, make_samples

from staff_engine import models
from staff_engine.finetune import count_steps, finetune, steps_done, training_order
from staff_engine.tokens import EncodedSample

RANDOM = make_samples(tuple(range(6, 30)))
SAMPLES = [  # there is something to learn: whatever is asked, the answer is 7
    EncodedSample([7 if m else i for i, m in zip(s.input_ids, s.response_mask, strict=True)], s.response_mask)
    for s in RANDOM
]
SETTINGS = {"pad_token_id": 0, "epochs": 3, "batch_size": 2, "learning_rate": 1e-2, "seed": 5}


def run(folder, on_step=lambda step: True, **changes):
    model = models.add_lora(make_model(), rank=4, alpha=8, seed=5)
    lengths = [len(sample.input_ids) for sample in SAMPLES]
    return finetune(model, SAMPLES, lengths, folder, on_step=on_step, **{**SETTINGS, **changes})


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_training_lowers_the_loss_and_writes_the_adapter(tmp_path):
    steps, kept = [], []

    def on_step(step):
        steps.append(step)
        return True

    assert run(tmp_path / "adapter", on_step, on_loss=lambda history: kept.__setitem__(slice(None), history))
    assert steps == [entry["step"] for entry in kept] == list(range(1, 37))
    assert np.mean([e["loss"] for e in kept[-6:]]) < np.mean([e["loss"] for e in kept[:6]]) - 0.1
    assert any(
        weight.abs().max() > 0 for name, weight in weights(tmp_path / "adapter").items() if "lora_B" in name
    )


def test_the_base_model_stays_as_it_was(tmp_path):
    model = models.add_lora(make_model(), rank=4, alpha=8, seed=5)
    lengths = [len(sample.input_ids) for sample in SAMPLES]
    finetune(model, SAMPLES, lengths, tmp_path / "adapter", **SETTINGS)
    before = make_model().state_dict()
    after = {n.replace(".base_layer", ""): w for n, w in model.get_base_model().state_dict().items()}
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


@pytest.mark.parametrize("stop_at", [1, 13, 20])
def test_what_was_stopped_goes_on_and_ends_with_the_same_weights(tmp_path, stop_at):
    assert run(tmp_path / "undisturbed" / "adapter")
    stopped = tmp_path / "stopped" / "adapter"
    assert not run(stopped, lambda step: step < stop_at)
    assert not stopped.exists()
    steps = []
    assert run(stopped, lambda step: steps.append(step) or True)
    assert steps[0] == stop_at + 1
    whole, resumed = weights(tmp_path / "undisturbed" / "adapter"), weights(stopped)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_two_adapters_side_by_side_do_not_take_up_each_others_checkpoints(tmp_path):
    assert not run(tmp_path / "one.part", lambda step: step < 13)
    steps = []
    assert run(tmp_path / "other.part", lambda step: steps.append(step) or True)
    assert steps[0] == 1
    assert (steps_done(tmp_path / "one.part"), steps_done(tmp_path / "new.part")) == (13, 0)


def test_another_seed_ends_elsewhere(tmp_path):
    run(tmp_path / "a" / "adapter")
    run(tmp_path / "b" / "adapter", seed=6)
    one, other = weights(tmp_path / "a" / "adapter"), weights(tmp_path / "b" / "adapter")
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_every_epoch_sees_every_sample_once():
    order = training_order(list(range(5, 45)), epochs=3, batch_size=4, seed=0)
    epochs = [order[start : start + 40] for start in (0, 40, 80)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(40))] * 3
    assert epochs[0] != epochs[1]


def test_a_batch_holds_samples_of_like_length():
    lengths = np.random.default_rng(0).integers(5, 500, 400)
    order = training_order(lengths.tolist(), epochs=1, batch_size=8, seed=0)
    spread = [np.ptp(lengths[order[start : start + 8]]) for start in range(0, 400, 8)]
    assert np.mean(spread) < 0.1 * np.ptp(lengths)


def test_steps_are_counted_over_all_epochs():
    assert (count_steps(10, epochs=3, batch_size=8), count_steps(8, epochs=1, batch_size=8)) == (4, 1)
