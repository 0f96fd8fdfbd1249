"""Losses without prompts: against one sample at a time, and what must not change them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from staff_engine.data.tokens import EncodedSample
from staff_engine.errors import ModelError
from staff_engine.scoring import losses as scoring_losses
from staff_engine.scoring.losses import LossScorer, first_token, response_alone
from tests.helpers.score_oracle import FLOAT32_TOLERANCE, FLOAT64_TOLERANCE, oracle, score
from tests.helpers.tiny import ARCHITECTURES, VOCABULARY, make_samples, make_scored_model, make_tokenizer

FIRST = 1


def losses(model, samples, pad_token_id=0):
    return LossScorer(model, first=FIRST, pad_token_id=pad_token_id).score(samples)


def alone_one_by_one(model, samples):
    """A forward pass for each sample over its first token and its response tokens, in the model's dtype."""
    values = []
    for sample in samples:
        response = [
            token for token, marked in zip(sample.input_ids, sample.response_mask, strict=True) if marked
        ]
        logits = model(input_ids=torch.tensor([[FIRST, *response]])).logits[0]
        chances = torch.softmax(logits, dim=-1)
        values.append(
            np.mean([-torch.log(chances[place, token]).item() for place, token in enumerate(response)])
        )
    return np.array(values)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_has_the_losses_of_one_response_at_a_time_in_float64(architecture):
    model, samples = make_scored_model(architecture, dtype=torch.float64), make_samples()
    found = losses(model, samples)
    np.testing.assert_allclose(found, alone_one_by_one(model, samples), rtol=FLOAT64_TOLERANCE)
    assert (np.abs(found - oracle(model, samples)[:, 1]) > 1e-6)[:-1].all(), "the prompt changes the loss"


def test_float32_agrees_with_the_float64_oracle():
    samples = make_samples()
    exact = alone_one_by_one(make_scored_model(dtype=torch.float64), samples)
    np.testing.assert_allclose(losses(make_scored_model(), samples), exact, rtol=FLOAT32_TOLERANCE)


def test_batch_size_order_and_padding_do_not_change_a_loss():
    model, samples = make_scored_model(dtype=torch.float64), make_samples()
    together = losses(model, samples)
    alone = np.concatenate([losses(model, [sample]) for sample in samples])
    for other in (alone, losses(model, samples[::-1])[::-1], losses(model, samples, pad_token_id=7)):
        np.testing.assert_allclose(other, together, rtol=FLOAT64_TOLERANCE)


def test_a_sample_without_a_prompt_has_the_same_loss_with_and_without_it():
    model = make_scored_model(dtype=torch.float64)
    sample = EncodedSample([FIRST, 9, 20, 31, 2], [False, True, True, True, True])
    np.testing.assert_allclose(losses(model, [sample]), score(model, [sample]).loss, rtol=FLOAT64_TOLERANCE)


@given(st.data())
def test_the_response_alone_keeps_the_response_tokens_in_order(data):
    ids = data.draw(st.lists(st.integers(3, VOCABULARY - 1), min_size=2, max_size=20))
    mask = [False, *data.draw(st.lists(st.booleans(), min_size=len(ids) - 1, max_size=len(ids) - 1))]
    alone = response_alone(EncodedSample(ids, mask), FIRST)
    assert alone.input_ids == [FIRST, *(token for token, marked in zip(ids, mask, strict=True) if marked)]
    assert alone.response_mask == [False, *[True] * sum(mask)]


def test_a_response_follows_the_first_token_of_a_text_or_else_the_end_token():
    assert first_token(make_tokenizer()) == 1
    assert first_token(SimpleNamespace(bos_token_id=None, eos_token_id=2)) == 2
    assert first_token(SimpleNamespace(bos_token_id=0, eos_token_id=2)) == 0


def test_a_batch_that_does_not_fit_is_halved_until_it_does(monkeypatch):
    model, samples = make_scored_model(dtype=torch.float64), make_samples((20, 18, 16, 14, 12))
    scorer = LossScorer(model, first=FIRST, pad_token_id=0)
    hidden_states, seen = scorer._head.hidden_states, []

    def in_little_room(ids):
        seen.append(tuple(ids.shape))
        if ids.numel() > 24:
            raise torch.OutOfMemoryError("out of memory")
        return hidden_states(ids)

    monkeypatch.setattr(scorer._head, "hidden_states", in_little_room)
    found = scorer.score(samples)
    assert seen == [(5, 11), (2, 11), (2, 9), (1, 7)]
    np.testing.assert_allclose(found, losses(model, samples), rtol=FLOAT64_TOLERANCE)
    assert scorer.most_tokens == 22


def test_a_batch_of_a_divided_model_is_not_halved(monkeypatch):
    monkeypatch.setattr(scoring_losses, "is_sharded", lambda model: True)
    scorer = LossScorer(make_scored_model(), first=FIRST, pad_token_id=0)

    def in_little_room(ids):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(scorer._head, "hidden_states", in_little_room)
    with pytest.raises(ModelError, match="divided over processes cannot score it in parts"):
        scorer.score(make_samples((20, 18)))


def test_a_response_that_does_not_fit_is_an_error_with_its_length(monkeypatch):
    scorer = LossScorer(make_scored_model(), first=FIRST, pad_token_id=0)

    def in_no_room(ids):
        raise MemoryError

    monkeypatch.setattr(scorer._head, "hidden_states", in_no_room)
    with pytest.raises(ModelError, match="a single sample of 6 tokens does not fit"):
        scorer.score(make_samples((10,)))


def test_scoring_leaves_no_gradient_behind():
    model = make_scored_model()
    losses(model, make_samples())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_weight_that_is_not_a_number_makes_a_loss_that_is_not_finite():
    model = make_scored_model()
    model.get_base_model().model.layers[1].mlp.up_proj.base_layer.weight.data[0, 0] = float("nan")
    assert not np.isfinite(losses(model, make_samples())).any()
