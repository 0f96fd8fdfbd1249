"""Held-out losses and generated answers, against the obvious way, one sample after the other."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from staff_engine.data.tokens import EncodedSample
from staff_engine.evaluation.judging import _batches, generate_answers, held_out_losses, last_prompt
from tests.helpers.tiny import make_samples, make_scored_model, make_tokenizer

SAMPLES = make_samples((5, 12, 9, 30, 2, 17))
PROMPTS = [sample.input_ids[: 2 + place] for place, sample in enumerate(make_samples((20,) * 6, seed=1))]
HOW = {"new_tokens": 12, "longest": 60}


class Tokens(list):
    """As `tokens.TokenTable` gives samples and lengths."""

    @property
    def lengths(self):
        return np.array([len(sample.input_ids) for sample in self])

    @property
    def response_tokens(self):
        return np.array([sum(sample.response_mask) for sample in self])


@pytest.fixture(params=["llama", "gemma3_text", "mistral"])
def model(request):
    return make_scored_model(request.param, dtype=torch.float64)


def greedy(model, prompt, end, new_tokens):
    """The most likely token, one after the other, without a cache."""
    ids = list(prompt)
    for _ in range(new_tokens):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token == end:
            break
        ids.append(token)
    return ids[len(prompt) :]


def test_a_batch_holds_no_more_tokens_and_responses_than_it_may():
    lengths, responses = [3, 9, 4, 4, 20, 9], [1, 2, 2, 2, 10, 5]
    assert _batches(lengths, 18) == [[4], [1, 5], [2, 3, 0]]
    assert _batches(lengths, 18, responses, 6) == [[4], [1], [5], [2, 3, 0]]
    assert _batches(lengths, 1) == [[4], [1], [5], [2], [3], [0]]
    assert _batches([], 18) == []


@pytest.mark.parametrize("most", [16, 64, 10_000])
def test_the_loss_is_the_mean_over_the_samples_own_response_tokens(model, most):
    found = held_out_losses(model, Tokens(SAMPLES), pad_token_id=0, tokens_per_batch=most)
    for sample, loss in zip(SAMPLES, found, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([sample.input_ids])).logits[0]
        places = [place for place in range(1, len(sample.input_ids)) if sample.response_mask[place]]
        expected = functional.cross_entropy(
            logits[[place - 1 for place in places]],
            torch.tensor([sample.input_ids[place] for place in places]),
        )
        assert loss == pytest.approx(float(expected), rel=1e-9)


def test_many_answers_at_once_are_those_of_one_after_the_other(model):
    tokenizer = make_tokenizer()
    expected = [
        tokenizer.decode(greedy(model, prompt, 2, 12), skip_special_tokens=True).strip() for prompt in PROMPTS
    ]
    assert len(set(expected)) > 1
    for most in (1, 40, 10_000):
        assert generate_answers(model, tokenizer, PROMPTS, tokens_per_batch=most, **HOW) == expected


def test_an_answer_stops_at_the_end_token(model):
    tokenizer = make_tokenizer()
    whole = greedy(model, PROMPTS[3], -1, 12)
    stop = whole[4]
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(stop)
    (answer,) = generate_answers(model, tokenizer, [PROMPTS[3]], tokens_per_batch=100, **HOW)
    before = whole[: whole.index(stop)]
    assert answer == tokenizer.decode(before, skip_special_tokens=True).strip()
    assert len(before) < len(whole)


def test_no_answer_is_longer_than_it_may_be(model):
    (answer,) = generate_answers(
        model, make_tokenizer(), PROMPTS[:1], new_tokens=3, longest=60, tokens_per_batch=100
    )
    assert len(answer) <= 3


def test_a_prompt_that_is_too_long_loses_its_left_but_for_the_first_token(model):
    tokenizer, prompt = make_tokenizer(), make_samples((40,), seed=3)[0].input_ids
    cut = [prompt[0], *prompt[-7:]]
    long, short = (
        generate_answers(model, tokenizer, [each], new_tokens=12, longest=20, tokens_per_batch=100)
        for each in (prompt, cut)
    )
    assert long == short


def test_the_model_caches_no_more_afterwards_than_before(model):
    model.config.use_cache = False
    generate_answers(model, make_tokenizer(), PROMPTS[:2], tokens_per_batch=100, **HOW)
    assert model.config.use_cache is False


def test_the_prompt_of_a_conversation_reaches_to_its_last_response():
    mask = [False, False, True, True, False, False, True, True]
    assert last_prompt(EncodedSample(list(range(8)), mask)) == [0, 1, 2, 3, 4, 5]
    assert last_prompt(EncodedSample([7, 8], [False, True])) == [7]


def test_whoever_cancels_is_heard_before_each_batch(model):
    class Stop(BaseException):
        pass

    def goes():
        raise Stop

    with pytest.raises(Stop):
        held_out_losses(model, Tokens(SAMPLES), pad_token_id=0, tokens_per_batch=64, goes=goes)
    with pytest.raises(Stop):
        generate_answers(model, make_tokenizer(), PROMPTS, tokens_per_batch=64, goes=goes, **HOW)
