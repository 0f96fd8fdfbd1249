"""Samples to token ids, with the response mask and the truncation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.data.templates import ChatTemplate, How, Piece, Prepared, plain_pieces
from staff_engine.data.turns import Turn
from staff_engine.system.files import replaced

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

CHUNK = 1000


@dataclass(frozen=True)
class TokenizedSample:
    """A sample as token ids.

    Attributes
    ----------
    input_ids, response_mask
        The tokens, and which of them belong to a response.
    problem
        Why the sample is unusable, or None.
    cut
        Whether a response was truncated.
    template
        How the text was made: see `templates.How`; None for an unusable row.
    """

    input_ids: list[int]
    response_mask: list[bool]
    problem: str | None = None
    cut: bool = False
    template: How | None = None


def tokenize_sample(
    turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase, *, max_length: int, conversation: bool
) -> TokenizedSample:
    """Convert a sample to token ids, with its responses marked.

    In the chat template, the tokens are those of the template and no others. In the plain template, the
    sequence starts with the tokenizer's first token, if it has one, the end token closes every response,
    and special tokens within a text are treated as text.

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
    return _Tokenizing(tokenizer, max_length, conversation).samples([turns])[0]


class _Tokenizing:
    """Tokenizes samples in batches.

    Prompts and responses are tokenized separately, so that the mask is exact. A tokenizer that puts a
    space before every text gets them together, because this space would be a token of the response; then
    a token belongs to the response if a character of it does.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, conversation: bool) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.template = ChatTemplate(tokenizer) if conversation and tokenizer.chat_template else None
        self.together = _adds_space(tokenizer)

    def samples(self, conversations: Sequence[Sequence[Turn]]) -> list[TokenizedSample]:
        """Tokenize many samples, with one call of the tokenizer per template."""
        prepared = [self._prepare(turns) for turns in conversations]
        encoded: dict[bool, Iterator[tuple[list[int], list[bool]]]] = {}
        for chat in (False, True):
            texts = [_texts(sample) for sample in prepared if (sample.how != "plain") is chat]
            flat = [text for sample in texts for text in sample]
            options = {"add_special_tokens": False, "split_special_tokens": not chat, "verbose": False}
            encode = self._encode_together if self.together else self._encode_apart
            encoded[chat] = iter(encode(flat, options) if flat else [])
        return [self._joined(sample, encoded[sample.how != "plain"]) for sample in prepared]

    def _prepare(self, turns: Sequence[Turn]) -> Prepared:
        return self.template.prepare(turns) if self.template else Prepared(plain_pieces(turns), "plain")

    def _encode_apart(
        self, texts: Sequence[list[Piece]], options: dict[str, Any]
    ) -> Iterator[tuple[list[int], list[bool]]]:
        parts = iter(self.tokenizer([piece for text in texts for piece, _ in text], **options)["input_ids"])
        for text in texts:
            ids: list[int] = []
            mask: list[bool] = []
            for _, is_response in text:
                part = next(parts)
                ids += part
                mask += [is_response] * len(part)
            yield ids, mask

    def _encode_together(
        self, texts: Sequence[list[Piece]], options: dict[str, Any]
    ) -> Iterator[tuple[list[int], list[bool]]]:
        whole = ["".join(piece for piece, _ in text) for text in texts]
        encoded = self.tokenizer(whole, return_offsets_mapping=True, **options)
        for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            ends = list(accumulate(len(piece) for piece, _ in text))
            responses = [
                (end - len(piece), end)
                for (piece, is_response), end in zip(text, ends, strict=True)
                if is_response
            ]
            yield (
                ids,
                [any(first < end and start < last for start, end in responses) for first, last in offsets],
            )

    def _joined(self, sample: Prepared, encoded: Iterator[tuple[list[int], list[bool]]]) -> TokenizedSample:
        ids: list[int] = []
        mask: list[bool] = []
        plain = sample.how == "plain"
        for text in _texts(sample):
            more, marks = next(encoded)
            closing = [self.tokenizer.eos_token_id] if plain and text[-1][1] else []
            ids += [*more, *closing]
            mask += [*marks, *[True] * len(closing)]
        bos = self.tokenizer.bos_token_id
        if plain and bos is not None and ids[:1] != [bos]:
            ids, mask = [bos, *ids], [False, *mask]
        fitted = _fitted(ids, mask, self.max_length, keep_first=bos is not None and ids[:1] == [bos])
        return replace(fitted, template=sample.how)


def _texts(sample: Prepared) -> list[list[Piece]]:
    """The texts to tokenize: the whole conversation; in the plain template, one for each response."""
    if sample.how != "plain":
        return [sample.pieces]
    return [sample.pieces[start : start + 2] for start in range(0, len(sample.pieces), 2)]


def _adds_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer puts a space before every text, as SentencePiece does."""
    if not tokenizer.is_fast:
        return False
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    steps: list[Any] = [content["normalizer"], content["pre_tokenizer"]]
    while steps:
        step = steps.pop()
        if not step:
            continue
        if (
            step["type"] == "Prepend"
            or step.get("prepend_scheme") in ("always", "first")
            or step.get("add_prefix_space")
        ):
            return True
        steps += [*step.get("normalizers", []), *step.get("pretokenizers", [])]
    return False


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
            "template": pa.string(),
        }
    )
    tokenizing = _Tokenizing(tokenizer, max_length, conversation)
    with (
        replaced(path) as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        for start in range(0, len(rows), CHUNK):
            chunk: dict[str, Any] = rows[start : start + CHUNK]
            usable = [
                turns for turns, problem in zip(chunk["turns"], chunk["problem"], strict=True) if not problem
            ]
            encoded = iter(tokenizing.samples(usable))
            samples = [
                TokenizedSample([], [], problem) if problem else next(encoded) for problem in chunk["problem"]
            ]
            writer.write_batch(_as_batch(chunk["row_id"], samples, schema))
            if on_progress:
                on_progress(len(samples))


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
        [sample.template for sample in samples],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
