"""How well a fine-tuned model performs on samples that it has not seen: its loss and its answers.

Shapes: b samples of a batch, t positions, n response tokens of the batch, all samples together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.tokens import EncodedSample, TokenTable
from staff_engine.models.forward import pad, response_logits, valid_padding

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

MOST_LOGITS = 2**25
"""Maximum logits (response tokens times vocabulary) in memory: 128 MB in float32."""

Goes = Callable[[], None]
"""Called before each batch. It raises an exception to stop."""


def held_out_losses(
    model: PeftModel,
    tokens: TokenTable,
    *,
    pad_token_id: int,
    tokens_per_batch: int,
    goes: Goes = lambda: None,
) -> np.ndarray:
    """Compute the loss of each sample, without gradients.

    Returns
    -------
    float64 (n,)
        Mean negative log-likelihood of the response tokens of each sample, in nats.
    """
    import torch
    from torch.nn import functional

    model.eval()
    vocabulary = model.get_output_embeddings().weight.shape[0]
    padding = valid_padding(model, pad_token_id)
    batches = _batches(tokens.lengths, tokens_per_batch, tokens.response_tokens, MOST_LOGITS // vocabulary)
    losses = np.empty(len(tokens))
    for indices in batches:
        goes()
        batch = pad([tokens[index] for index in indices], pad_token_id=padding, device=model.device)
        with torch.no_grad():
            logits, _ = response_logits(model, batch)
            wide = logits if logits.dtype == torch.float64 else logits.float()
            each = functional.cross_entropy(wide, batch.targets, reduction="none")  # (n,)
            sums = each.new_zeros(len(indices)).index_add_(0, batch.rows, each)
            losses[indices] = (sums / torch.bincount(batch.rows)).cpu().numpy()
    return losses


def last_prompt(sample: EncodedSample) -> list[int]:
    """The tokens before the last response of a sample: the prompt for an answer."""
    mask = sample.response_mask
    start = max(index for index, masked in enumerate(mask) if masked)
    while mask[start - 1]:
        start -= 1
    return list(sample.input_ids[:start])


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
    """Generate answers to prompts by greedy decoding, so that the same model always gives the same answers.

    Prompts are padded on the left and processed in batches, with a cache of keys and values.

    Parameters
    ----------
    prompts
        Token ids.
    new_tokens
        Maximum tokens of an answer. The end token of the tokenizer or of the model ends it earlier.
    longest
        Maximum tokens of prompt and answer. Longer prompts are truncated on the left, except for the
        first token.
    tokens_per_batch
        Maximum tokens of a batch, including padding and answers.

    Returns
    -------
    list of str
        Answers in the order of the prompts, without special tokens and surrounding white space.
    """
    model.eval()
    room = max(longest - new_tokens, 2)
    fitted = [_fitted(list(prompt), room) for prompt in prompts]
    ends = _end_tokens(model, tokenizer)
    answers = [""] * len(fitted)
    with _caching(model):
        lengths = [len(prompt) + new_tokens for prompt in fitted]
        for indices in _batches(lengths, tokens_per_batch):
            goes()
            ids = _generate(model, [fitted[index] for index in indices], tokenizer, ends, new_tokens)
            texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
            for index, text in zip(indices, texts, strict=True):
                answers[index] = text.strip()
    return answers


def _generate(
    model: PeftModel,
    prompts: list[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    ends: list[int],
    new_tokens: int,
) -> list[list[int]]:
    """Token ids of the answers, each up to its end token."""
    import torch

    width = max(map(len, prompts))
    padding = valid_padding(model, tokenizer.pad_token_id)
    ids = [[padding] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    with torch.no_grad():
        generated = model.generate(
            input_ids=torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=new_tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=ends,
            pad_token_id=padding,
        )
    return [_up_to_end(row, ends) for row in generated[:, width:].tolist()]


def _up_to_end(ids: list[int], ends: list[int]) -> list[int]:
    stop = next((index for index, token in enumerate(ids) if token in ends), len(ids))
    return ids[:stop]


def _fitted(prompt: list[int], room: int) -> list[int]:
    return prompt if len(prompt) <= room else [prompt[0], *prompt[len(prompt) - room + 1 :]]


def _batches(
    lengths: Sequence[int] | np.ndarray,
    most: int,
    responses: Sequence[int] | np.ndarray | None = None,
    most_responses: int = 0,
) -> list[list[int]]:
    """Batches of indices of samples with similar length, longest first, at least one sample in each.

    Parameters
    ----------
    most
        Maximum tokens of a batch, including padding.
    responses, most_responses
        Response tokens of each sample, and their maximum per batch. None: no bound.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    batches: list[list[int]] = []
    inside = 0
    for index in order:
        count = 0 if responses is None else int(responses[index])
        batch = batches[-1] if batches else []
        full = (len(batch) + 1) * lengths[batch[0]] > most if batch else True
        if full or (responses is not None and inside + count > most_responses):
            batches.append([])
            inside = 0
        batches[-1].append(index)
        inside += count
    return batches


def _end_tokens(model: PeftModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The end tokens of the tokenizer and of the model's generation config."""
    own = getattr(model.generation_config, "eos_token_id", None)
    more = own if isinstance(own, list) else [own]
    return sorted({tokenizer.eos_token_id, *(token for token in more if token is not None)})


@contextmanager
def _caching(model: PeftModel) -> Iterator[None]:
    """Use the cache of keys and values, which is off for training, within the block."""
    before = model.config.use_cache
    model.config.use_cache = True
    try:
        yield
    finally:
        model.config.use_cache = before
