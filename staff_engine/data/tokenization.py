"""Samples to token ids: the template, the response mask, the truncation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.data.turns import Turn, is_response
from staff_engine.system.files import replaced

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

ROLE_NAMES = {"user": "prompt", "assistant": "response"}
CHUNK = 1000

log = logging.getLogger(__name__)

Piece = tuple[str, bool]  # text, and whether it is a response


@dataclass(frozen=True)
class TokenizedSample:
    """Token ids, which belong to a response, why the sample is unusable, whether a response was truncated."""

    input_ids: list[int]
    response_mask: list[bool]
    problem: str | None = None
    cut: bool = False


def plain_text(turns: Iterable[tuple[str, str]]) -> str:
    """The plain template: a heading and a text for each turn, and a blank line between turns."""
    return "\n\n".join(f"### {role.capitalize()}:\n{text}" for role, text in turns)


def plain_pieces(turns: Sequence[Turn]) -> list[Piece]:
    """Split the plain template where responses begin and end."""
    pieces: list[Piece] = []
    context = ""
    for turn in turns:
        role: str = turn["role"]
        name = ROLE_NAMES.get(role, role)
        heading = plain_text([(name, "")])
        if is_response(turn):
            pieces += [(context + heading, False), (turn["content"], True)]
            context = "\n\n"
        else:
            context += heading + turn["content"] + "\n\n"
    return pieces


def chat_pieces(turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase) -> list[Piece] | None:
    """Split the tokenizer's chat template the same way; None if it cannot be split there."""
    pieces: list[Piece] = []
    done = ""
    for index, turn in enumerate(turns):
        if not is_response(turn):
            continue
        before = _render(turns[:index], tokenizer, prompt=True)
        after = _render(turns[: index + 1], tokenizer, prompt=False)
        if before is None or after is None or not before.startswith(done) or not after.startswith(before):
            return None
        pieces += [(before[len(done) :], False), (after[len(before) :], True)]
        done = after
    return pieces


def _render(turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase, *, prompt: bool) -> str | None:
    from jinja2 import TemplateError

    try:
        spoken = [{"role": turn["role"], "content": turn["content"]} for turn in turns]
        return str(tokenizer.apply_chat_template(spoken, tokenize=False, add_generation_prompt=prompt))
    except (TemplateError, TypeError, ValueError, IndexError):
        # An older transformers raises IndexError for no turns, where a newer raises ValueError.
        return None


def tokenize_sample(
    turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase, *, max_length: int, conversation: bool
) -> TokenizedSample:
    """Convert a sample to token ids, with its responses marked.

    Prompts and responses are tokenized separately, so that the mask is exact. The sequence
    starts with the tokenizer's first token, if it has one. In the plain template, the end
    token closes every response, and special tokens within a text are treated as text.

    Parameters
    ----------
    turns
        Dicts of role and content.
    max_length
        Maximum tokens. A longer sample is truncated from the left, after its first token, up
        to the last response. If that alone is too long, it is truncated on the right.
    conversation
        Whether to use the tokenizer's chat template, if it has one that can be split into
        prompts and responses. Otherwise the plain template is used.
    """
    prepared = [_prepare(turns, tokenizer, conversation)]
    return _encode(prepared, tokenizer, max_length)[0]


@dataclass(frozen=True)
class _Prepared:
    """A sample as pieces of text, and whether they come from the chat template."""

    pieces: list[Piece]
    chat: bool


def _prepare(turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase, conversation: bool) -> _Prepared:
    pieces = chat_pieces(turns, tokenizer) if conversation and tokenizer.chat_template else None
    return _Prepared(plain_pieces(turns), False) if pieces is None else _Prepared(pieces, True)


def _encode(
    prepared: Sequence[_Prepared], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[TokenizedSample]:
    """Tokenize the pieces of many samples, with one call of the tokenizer per template."""
    parts: dict[bool, Iterator[list[int]]] = {}
    for chat in (False, True):
        texts = [text for sample in prepared if sample.chat == chat for text, _ in sample.pieces]
        options = {"add_special_tokens": False, "split_special_tokens": not chat, "verbose": False}
        parts[chat] = iter(tokenizer(texts, **options)["input_ids"] if texts else [])
    return [_joined(sample, parts[sample.chat], tokenizer, max_length) for sample in prepared]


def _joined(
    sample: _Prepared, parts: Iterator[list[int]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> TokenizedSample:
    ids: list[int] = []
    mask: list[bool] = []
    for _, answer in sample.pieces:
        part = next(parts)
        closing = [tokenizer.eos_token_id] if answer and not sample.chat else []
        ids += [*part, *closing]
        mask += [answer] * (len(part) + len(closing))
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:1] != [bos]:
        ids, mask = [bos, *ids], [False, *mask]
    return _fitted(ids, mask, max_length, keep_first=bos is not None)


def _fitted(ids: list[int], mask: list[bool], max_length: int, *, keep_first: bool) -> TokenizedSample:
    """Truncate to `max_length`, and check whether a response remains."""
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
        mask[0] = False  # there is no token before it to predict it from
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
    uncut = 0
    with (
        replaced(path) as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        for start in range(0, len(rows), CHUNK):
            chunk: dict[str, Any] = rows[start : start + CHUNK]
            prepared = {
                index: _prepare(turns, tokenizer, conversation)
                for index, turns in enumerate(chunk["turns"])
                if not chunk["problem"][index]
            }
            uncut += sum(not sample.chat for sample in prepared.values())
            encoded = iter(_encode(list(prepared.values()), tokenizer, max_length))
            samples = [
                next(encoded) if index in prepared else TokenizedSample([], [], problem)
                for index, problem in enumerate(chunk["problem"])
            ]
            writer.write_batch(_as_batch(chunk["row_id"], samples, schema))
            if on_progress:
                on_progress(len(samples))
    if uncut and conversation and tokenizer.chat_template:
        log.warning(
            "the chat template cannot be split into prompts and responses for %d samples; "
            "they use the plain one",
            uncut,
        )


def _as_batch(
    row_ids: Sequence[int], samples: Sequence[TokenizedSample], schema: pa.Schema
) -> pa.RecordBatch:
    import pyarrow as pa

    columns: list[Sequence[Any]] = [
        row_ids,
        [sample.input_ids for sample in samples],
        [sample.response_mask for sample in samples],
        [sample.problem for sample in samples],
        [sample.cut for sample in samples],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
