"""Samples to token ids: the template, the response mask, the truncation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.files import replaced

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

ROLE_NAMES = {"user": "prompt", "assistant": "response"}
CHUNK = 1000

log = logging.getLogger(__name__)

Turn = dict[str, str]
Piece = tuple[str, bool]  # text, and whether it is a response


@dataclass(frozen=True)
class TokenizedSample:
    """Token ids of a sample; which belong to a response; why it is unusable; whether a response was cut."""

    input_ids: list[int]
    response_mask: list[bool]
    problem: str | None = None
    cut: bool = False


def plain_text(turns: Iterable[tuple[str, str]]) -> str:
    """The plain template: a heading for each turn, its text below, a blank line between turns."""
    return "\n\n".join(f"### {role.capitalize()}:\n{text}" for role, text in turns)


def plain_pieces(turns: Sequence[Turn]) -> list[Piece]:
    """Cut the plain template where responses begin and end."""
    pieces: list[Piece] = []
    context = ""
    for turn in turns:
        name = ROLE_NAMES.get(turn["role"], turn["role"])
        heading = plain_text([(name, "")])
        if turn["role"] == "assistant":
            pieces += [(context + heading, False), (turn["content"], True)]
            context = "\n\n"
        else:
            context += heading + turn["content"] + "\n\n"
    return pieces


def chat_pieces(turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase) -> list[Piece] | None:
    """Cut the tokenizer's chat template the same way; None if it cannot be cut there."""
    pieces: list[Piece] = []
    done = ""
    for place, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        before = _render(turns[:place], tokenizer, prompt=True)
        after = _render(turns[: place + 1], tokenizer, prompt=False)
        if before is None or after is None or not before.startswith(done) or not after.startswith(before):
            return None
        pieces += [(before[len(done) :], False), (after[len(before) :], True)]
        done = after
    return pieces


def _render(turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase, *, prompt: bool) -> str | None:
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=prompt))
    except (TemplateError, TypeError, ValueError):
        return None


def tokenize_sample(
    turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase, *, max_length: int, conversation: bool
) -> TokenizedSample:
    """Turn a sample into token ids, with its responses marked.

    Parameters
    ----------
    turns
        Dicts of role and content.
    max_length
        Most tokens. What is over is cut from the left, after the first token where that
        opens the sequence, but never from the last response; if that alone is too long,
        it is cut on the right.
    conversation
        Whether the tokenizer's chat template is used, where there is one; else the plain one.
    """
    pieces = chat_pieces(turns, tokenizer) if conversation and tokenizer.chat_template else None
    chat = pieces is not None
    if pieces is None:
        pieces = plain_pieces(turns)
    texts = [text for text, _ in pieces]
    encoded = (
        tokenizer(texts, add_special_tokens=False, split_special_tokens=not chat, verbose=False)["input_ids"]
        if texts
        else []
    )
    ids: list[int] = []
    mask: list[bool] = []
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if bos is not None and not (chat and encoded and encoded[0][:1] == [bos]):
        ids, mask = [bos], [False]
    for (_, is_response), part in zip(pieces, encoded, strict=True):
        closed = [*part, eos] if is_response and not chat else part
        ids += closed
        mask += [is_response] * len(closed)
    return _fitted(ids, mask, max_length, keep_first=bos is not None)


def _fitted(ids: list[int], mask: list[bool], max_length: int, *, keep_first: bool) -> TokenizedSample:
    cut = False
    if len(ids) > max_length:
        last = len(mask) - 1 - mask[::-1].index(True) if any(mask) else -1
        first = last
        while first > 0 and mask[first - 1]:
            first -= 1
        opening = int(keep_first)
        start = min(max(len(ids) - max_length + opening, opening), max(first - 1, opening))
        ids, mask = ids[:opening] + ids[start:], mask[:opening] + mask[start:]
        cut = any(mask[max_length:])
        ids, mask = ids[:max_length], mask[:max_length]
    if mask and mask[0]:
        mask[0] = False  # nothing stands before it to predict it from
    if not any(mask):
        return TokenizedSample([], [], "no response token", cut)
    return TokenizedSample(ids, mask, None, cut)


def tokenize_dataset(
    rows: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    *,
    max_length: int,
    conversation: bool,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Tokenize imported rows into an Arrow file that `tokens.open_tokens` reads."""
    import pyarrow as pa

    schema = pa.schema(
        {
            "row_id": pa.int64(),
            "input_ids": pa.list_(pa.int32()),
            "response_mask": pa.list_(pa.bool_()),
            "problem": pa.string(),
            "cut": pa.bool_(),
        }
    )
    with (
        replaced(path) as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        for start in range(0, len(rows), CHUNK):
            chunk: dict[str, Any] = rows[start : start + CHUNK]
            samples = [
                TokenizedSample([], [], problem)
                if problem
                else tokenize_sample(turns, tokenizer, max_length=max_length, conversation=conversation)
                for turns, problem in zip(chunk["turns"], chunk["problem"], strict=True)
            ]
            columns = [
                chunk["row_id"],
                [s.input_ids for s in samples],
                [s.response_mask for s in samples],
                [s.problem for s in samples],
                [s.cut for s in samples],
            ]
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            if on_progress:
                on_progress(len(samples))
