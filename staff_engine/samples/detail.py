"""Details of one sample: its turns, the loss of each response token, its rank, why it was kept or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.rows import selected_lines, selected_turns
from staff_engine.data.tokens import open_tokens
from staff_engine.data.turns import is_response
from staff_engine.errors import PlanError
from staff_engine.selection.strata import DROPPED, DUPLICATE, NO_SCORE
from staff_engine.system.arrow import to_numpy

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from staff_engine.data.tokens import TokenTable
    from staff_engine.runs.results import Results
    from staff_engine.samples.columns import SampleColumns
    from staff_engine.selection.coreset import Selection

CONTEXT = 8
"""Tokens before a response that are decoded with its first token."""

LONGEST_LINE = 5000

HALF = "\ufffd"
"""How a tokenizer decodes bytes that are only a part of a character."""


@dataclass(frozen=True)
class Piece:
    """The text of one token, or of several tokens that are parts of the same character."""

    text: str
    loss: float
    """Negative log-likelihood in nats, summed over the tokens."""
    tokens: int = 1
    special: bool = False
    """Whether it is a special token, such as the end of a response, and not text of the sample."""


@dataclass(frozen=True)
class TurnDetail:
    """A turn, and its scored pieces.

    `before`, the texts of the pieces that are not special, and `after` together are the text,
    except for spaces around it.
    """

    role: str
    text: str
    pieces: tuple[Piece, ...] = ()
    before: str = ""
    after: str = ""
    altered: bool = False
    """Whether template or tokenizer changed the text of the turn; `text` is then the changed one."""


@dataclass(frozen=True)
class SampleDetail:
    """A sample's turns, and why it has no token losses, if it has none."""

    row_id: int
    turns: tuple[TurnDetail, ...]
    no_losses: str | None = None
    line: str | None = None
    """The row as in the file, truncated to `LONGEST_LINE` characters; only if it has no turns."""


def sample_detail(results: Results, row_id: int) -> SampleDetail:
    """Read one sample: its turns, and the loss of each response token if the run stored them."""
    turns = next(turns for _, turns in selected_turns(results.imported.folder, np.array([row_id])))
    roles_and_texts = [(turn["role"], turn["content"]) for turn in turns]
    plain = tuple(TurnDetail(role, text) for role, text in roles_and_texts)
    if not turns:
        line = next(line for _, line in selected_lines(results.imported.folder, np.array([row_id])))
        return SampleDetail(row_id, (), line=line.decode("utf-8", errors="replace")[:LONGEST_LINE])
    if row_id in results.unscorable:
        return SampleDetail(row_id, plain)
    spans = _spans(results.folder, row_id)
    if isinstance(spans, str):
        return SampleDetail(row_id, plain, spans)
    responses = [index for index, turn in enumerate(turns) if is_response(turn)]
    if len(spans) > len(responses):
        return SampleDetail(row_id, plain, "The tokens of this sample do not match its turns.")
    detailed = list(plain)
    for index, pieces in zip(responses[len(responses) - len(spans) :], spans, strict=True):
        detailed[index] = _along(*roles_and_texts[index], pieces)
    return SampleDetail(row_id, tuple(detailed))


def decode_pieces(
    tokenizer: Tokenizer, ids: Sequence[int], losses: Sequence[float], context: Sequence[int] = ()
) -> tuple[Piece, ...]:
    """Decode each token; the texts joined are the text of all tokens.

    Tokens that are parts of one character are one piece.

    Parameters
    ----------
    ids, losses
        Token ids and their losses in nats, same length.
    context
        Token ids before them, because many tokenizers decode a token differently at the
        beginning of a text.
    """
    marks = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
    pieces: list[Piece] = []
    before, group, cost = list(context), list[int](), 0.0
    for token, loss, following in zip_longest(ids, losses, ids[1:]):
        group, cost = [*group, token], cost + loss
        text = _decoded(tokenizer, before, group)
        if not text.endswith(HALF) or following is None or following in marks or token in marks:
            pieces.append(Piece(text, cost, len(group), token in marks))
            before, group, cost = group, [], 0.0
    return tuple(pieces)


def _decoded(tokenizer: Tokenizer, before: list[int], group: list[int]) -> str:
    start = tokenizer.decode(before, skip_special_tokens=False)
    whole = tokenizer.decode([*before, *group], skip_special_tokens=False)
    if before and whole.startswith(start):
        return whole[len(start) :]
    return tokenizer.decode(group, skip_special_tokens=False)


def _spans(folder: Path, row_id: int) -> list[tuple[Piece, ...]] | str:
    """The pieces of each scored response, in order; or why there are none."""
    losses = _token_losses(folder / "token_loss", row_id)
    if losses is None:
        return "This run has no token losses. New runs store them."
    if not (folder / "tokenizer.json").exists() or not (folder / "tokens.arrow").exists():
        return "Token losses cannot be shown, because this run has no tokenizer file or no token file."
    tokenizer = _tokenizer(*_stamp(folder / "tokenizer.json"))
    tokens = _tokens(*_stamp(folder / "tokens.arrow"))
    index = int(np.searchsorted(tokens.row_ids, row_id))
    if index == len(tokens) or tokens.row_ids[index] != row_id:
        return "This sample was not tokenized."
    sample = tokens[index]
    ids, mask = np.asarray(sample.input_ids), np.asarray(sample.response_mask)
    if mask.sum() != len(losses):
        return "This run's token losses do not match its tokens."
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    spans, read = [], 0
    for start, end in edges.reshape(-1, 2).tolist():
        of_span = losses[read : read + end - start].tolist()
        context = ids[max(0, start - CONTEXT) : start].tolist()
        spans.append(decode_pieces(tokenizer, ids[start:end].tolist(), of_span, context))
        read += end - start
    return spans


def _along(role: str, text: str, pieces: tuple[Piece, ...]) -> TurnDetail:
    """Align the pieces with a turn's text, which may be truncated on either side."""
    scored = "".join(piece.text for piece in pieces if not piece.special)
    if scored.startswith(" ") and not text.startswith(" ") and not pieces[0].special:
        pieces = (replace(pieces[0], text=pieces[0].text[1:]), *pieces[1:])  # a space from the tokenizer
        scored = scored[1:]
    if text.endswith(scored):
        return TurnDetail(role, text, pieces, before=text[: len(text) - len(scored)])
    if text.startswith(scored):
        return TurnDetail(role, text, pieces, after=text[len(scored) :])
    return TurnDetail(role, scored, pieces, altered=scored.strip() != text.strip())


def _token_losses(folder: Path, row_id: int) -> np.ndarray | None:
    """float64 (tokens,): the loss of each response token in nats; None if the run did not store it."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("part-*.parquet")):
        with pq.ParquetFile(path) as file:
            indices = np.flatnonzero(to_numpy(file.read(["row_id"])["row_id"]) == row_id)
            if not len(indices):
                continue
            index = int(indices[0])
            groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            ends = np.cumsum(groups)
            group = int(np.searchsorted(ends, index, side="right"))
            losses = file.read_row_group(group, ["losses"])["losses"]
            own = losses.slice(index - int(ends[group] - groups[group]), 1)
            return pc.list_flatten(own).to_numpy().astype(np.float64)
    return None


def _stamp(path: Path) -> tuple[Path, int]:
    """A file and its modification time: the cache key of its content."""
    return path, path.stat().st_mtime_ns


@lru_cache(maxsize=2)
def _tokenizer(path: Path, changed: int) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


@lru_cache(maxsize=2)
def _tokens(path: Path, changed: int) -> TokenTable:
    return open_tokens(path)


@dataclass(frozen=True)
class Standing:
    """The rank of a score among others."""

    score: float
    below: float
    """Fraction of the others that are lower, 0 to 1."""
    others: int


def standing(scores: np.ndarray, row_id: int) -> Standing | None:
    """The rank of a row's score among all scores; None if it has none.

    Parameters
    ----------
    scores
        float (rows,), NaN for rows without a score.
    """
    score = float(scores[row_id])
    if not np.isfinite(score):
        return None
    others = int(np.isfinite(scores).sum()) - 1
    return Standing(score, float((scores < score).sum()) / max(others, 1), others)


_TAKEN = {
    "random": (", and this one was drawn.", ", and this one was not drawn."),
    "hardest": (
        ", the hardest, and this one is among them.",
        ", the hardest, and this one is not among them.",
    ),
    "diverse": (
        ", those that best represent the others, and this one is among them.",
        ", those that best represent the others, and this one is not among them.",
    ),
}
"""By how samples are drawn within a stratum: the end of the sentence for a kept sample, and for another."""


def why(columns: SampleColumns, selection: Selection, row_id: int, *, within: str = "random") -> str:
    """One sentence on why a row is in the coreset or not.

    Parameters
    ----------
    within
        How samples are drawn within a stratum, as in the plan.

    Raises
    ------
    PlanError
        If `within` is unknown.
    """
    if within not in _TAKEN:
        raise PlanError(f"within is {within!r}; allowed: {', '.join(_TAKEN)}")
    stratum = int(columns.strata[row_id])
    if stratum == NO_SCORE:
        return f"It cannot be scored: {columns.unscorable.get(row_id, 'it has no score')}."
    if stratum == DROPPED:
        dropped = int((columns.strata == DROPPED).sum())
        return f"Not kept: it is one of the {dropped:,} hardest samples, which are left out of every stratum."
    if stratum == DUPLICATE:
        place = int(np.searchsorted(columns.duplicates[:, 0], row_id))
        return f"Not kept: it is a near duplicate of row {columns.duplicates[place, 1]}."
    size, budget = int(selection.sizes[stratum]), int(selection.budget[stratum])
    kept = bool(columns.kept[row_id])
    if budget == size:
        everything = f"all of its {size:,} samples" if size > 1 else "its only sample"
        return f"Kept: stratum {stratum} keeps {everything}."
    keeps = f"keeps {budget:,} of its {size:,} samples" if size > 1 else "does not keep its only sample"
    sentence = f"{'Kept' if kept else 'Not kept'}: stratum {stratum} {keeps}"
    if not budget:
        return f"{sentence}."
    chosen, left_out = _TAKEN[within]
    return sentence + (chosen if kept else left_out)
