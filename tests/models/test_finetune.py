import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from staff_engine.data.tokens import EncodedSample
from staff_engine.models import adapters
from staff_engine.models.finetune import (
    count_steps,
    finetune,
    order_of_steps,
    steps_done,
    train,
    training_order,
)
from tests.helpers.tiny import make_model, make_samples

RANDOM = make_samples(tuple(range(6, 30)))
SAMPLES = [  # there is something to learn: whatever is asked, the answer is 7
    EncodedSample([7 if m else i for i, m in zip(s.input_ids, s.response_mask, strict=True)], s.response_mask)
    for s in RANDOM
]
SETTINGS = {"pad_token_id": 0, "epochs": 3, "batch_size": 2, "learning_rate": 1e-2, "seed": 5}


def run(folder, on_step=lambda step: True, **changes):
    model = adapters.add_lora(make_model(), rank=4, alpha=8, seed=5)
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
    model = adapters.add_lora(make_model(), rank=4, alpha=8, seed=5)
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


def test_so_many_steps_are_the_beginning_of_as_many_epochs_as_they_take():
    lengths = [len(sample.input_ids) for sample in SAMPLES]
    for steps, epochs in ((3, 1), (12, 1), (13, 2), (31, 3)):
        order = order_of_steps(lengths, steps=steps, batch_size=2, seed=5)
        assert len(order) == 2 * steps
        assert order == training_order(lengths, epochs=epochs, batch_size=2, seed=5)[: 2 * steps]


def test_training_in_a_given_order_ends_where_a_fine_tuning_ends_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lengths = [len(sample.input_ids) for sample in SAMPLES]
    order = training_order(lengths, epochs=3, batch_size=2, seed=5)
    model = adapters.add_lora(make_model(), rank=4, alpha=8, seed=5)
    how = {name: value for name, value in SETTINGS.items() if name != "epochs"}
    steps = []
    assert train(model, SAMPLES, order, on_step=lambda step: steps.append(step) or True, **how)
    assert not list(tmp_path.iterdir())
    assert steps == list(range(1, 37))
    run(tmp_path / "adapter")
    parameters = dict(model.named_parameters())
    for name, weight in weights(tmp_path / "adapter").items():
        assert torch.equal(weight, parameters[name.replace(".weight", ".default.weight")])


def test_training_without_checkpoints_stops_when_it_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = adapters.add_lora(make_model(), rank=4, alpha=8, seed=5)
    how = {name: value for name, value in SETTINGS.items() if name != "epochs"}
    steps = []

    def on_step(step):
        steps.append(step)
        return step < 4

    assert not train(model, SAMPLES, list(range(24)), on_step=on_step, **how)
    assert steps == [1, 2, 3, 4]
    assert not list(tmp_path.iterdir())


def test_a_machine_with_several_gpus_trains_on_one_in_one_process(tmp_path, monkeypatch):
    """Trainer would put a batch on each of them, so that a step would have several."""
    from transformers import Trainer, TrainingArguments

    seen = []
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: self._n_gpu if self._n_gpu else 4))
    begin = Trainer.train
    monkeypatch.setattr(
        Trainer, "train", lambda self, **how: (seen.append(self.args.train_batch_size), begin(self, **how))[1]
    )
    assert run(tmp_path / "adapter")
    assert seen == [SETTINGS["batch_size"]]
