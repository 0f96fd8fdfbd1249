"""How well a fine-tuned model does on samples that it has not seen: its loss, and its own answers.

Shapes: b samples of a batch, t positions, n response tokens of the batch, all samples together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.tokens import EncodedSample, TokenTable
from staff_engine.models.forward import pad, response_logits

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

MOST_LOGITS = 2**25
"""Response tokens times vocabulary that are held at once: 128 MB in float32."""

Goes = Callable[[], None]
"""Called before each batch; raises to stop."""


def held_out_losses(
    model: PeftModel,
    tokens: TokenTable,
    *,
    pad_token_id: int,
    tokens_per_batch: int,
    goes: Goes = lambda: None,
) -> np.ndarray:
    """The loss of each sample; no gradient is computed.

    Returns
    -------
    float64 (n,)
        Mean negative log-likelihood of a sample's response tokens, nats.
    """
    import torch
    from torch.nn import functional

    model.eval()
    vocabulary = model.get_output_embeddings().weight.shape[0]
    batches = _batches(tokens.lengths, tokens_per_batch, tokens.response_tokens, MOST_LOGITS // vocabulary)
    losses = np.empty(len(tokens))
    for places in batches:
        goes()
        batch = pad([tokens[place] for place in places], pad_token_id=pad_token_id, device=model.device)
        with torch.no_grad():
            logits, _ = response_logits(model, batch)
            wide = logits if logits.dtype == torch.float64 else logits.float()
            each = functional.cross_entropy(wide, batch.targets, reduction="none")  # (n,)
            sums = each.new_zeros(len(places)).index_add_(0, batch.rows, each)
            losses[places] = (sums / torch.bincount(batch.rows)).cpu().numpy()
    return losses


def last_prompt(sample: EncodedSample) -> list[int]:
    """The tokens before the last response of a sample, which an answer is to follow."""
    mask = sample.response_mask
    place = max(place for place, masked in enumerate(mask) if masked)
    while mask[place - 1]:
        place -= 1
    return list(sample.input_ids[:place])


def generate_answers(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    longest: int,
    tokens_per_batch: int,
    goes: Goes = lambda: None,
) -> list[str]:
    """Let a model answer prompts: greedily, so that the same model always says the same.

    Prompts are padded on the left and answered many at a time, with a cache of keys and values.

    Parameters
    ----------
    prompts
        Token ids.
    new_tokens
        Most tokens of an answer; it ends before with the tokenizer's or the model's own end token.
    longest
        Most tokens of prompt and answer; a longer prompt loses its left, but for the first token.
    tokens_per_batch
        Most tokens of a batch, padding and answers counted.

    Returns
    -------
    list of str
        Answers in the order of the prompts, without special tokens and outer white space.
    """
    model.eval()
    room = max(longest - new_tokens, 2)
    fitted = [_fitted(list(prompt), room) for prompt in prompts]
    ends = _end_tokens(model, tokenizer)
    answers = [""] * len(fitted)
    with _caching(model):
        lengths = [len(prompt) + new_tokens for prompt in fitted]
        for places in _batches(lengths, tokens_per_batch):
            goes()
            ids = _generate(model, [fitted[place] for place in places], tokenizer, ends, new_tokens)
            texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
            for place, text in zip(places, texts, strict=True):
                answers[place] = text.strip()
    return answers


def _generate(
    model: PeftModel,
    prompts: list[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    ends: list[int],
    new_tokens: int,
) -> list[list[int]]:
    """Ids of the answers, each up to its end token."""
    import torch

    width = max(map(len, prompts))
    ids = [[tokenizer.pad_token_id] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    with torch.no_grad():
        found = model.generate(
            input_ids=torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=new_tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )
    return [_up_to_end(row, ends) for row in found[:, width:].tolist()]


def _up_to_end(ids: list[int], ends: list[int]) -> list[int]:
    stop = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return ids[:stop]


def _fitted(prompt: list[int], room: int) -> list[int]:
    return prompt if len(prompt) <= room else [prompt[0], *prompt[len(prompt) - room + 1 :]]


def _batches(
    lengths: Sequence[int] | np.ndarray,
    most: int,
    responses: Sequence[int] | np.ndarray | None = None,
    most_responses: int = 0,
) -> list[list[int]]:
    """Places of like length together, the longest first, a sample at least in each batch.

    Parameters
    ----------
    most
        Tokens of a batch, padding counted.
    responses, most_responses
        Response tokens of each sample, and how many a batch may hold; not bounded if None.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    batches: list[list[int]] = []
    inside = 0
    for place in order:
        count = 0 if responses is None else int(responses[place])
        batch = batches[-1] if batches else []
        full = (len(batch) + 1) * lengths[batch[0]] > most if batch else True
        if full or (responses is not None and inside + count > most_responses):
            batches.append([])
            inside = 0
        batches[-1].append(place)
        inside += count
    return batches


def _end_tokens(model: PeftModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokenizer's end token, and those that the model was published with."""
    own = getattr(model.generation_config, "eos_token_id", None)
    more = own if isinstance(own, list) else [own]
    return sorted({tokenizer.eos_token_id, *(token for token in more if token is not None)})


@contextmanager
def _caching(model: PeftModel) -> Iterator[None]:
    """The cache of keys and values, which training does without, for the time of the block."""
    before = model.config.use_cache
    model.config.use_cache = True
    try:
        yield
    finally:
        model.config.use_cache = before
