"""Record formats: the registry, what each reads, and the conversion of a row to turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from staff_engine.data import turns
from staff_engine.data.reading import Mapping
from staff_engine.data.texts import Row, template_columns
from staff_engine.data.turns import Turn
from staff_engine.errors import DatasetError


@dataclass(frozen=True)
class RecordFormat:
    """How the rows of a file contain prompt and response."""

    name: str
    """Its name in settings: a-z and -."""
    label: str
    """Its name for people."""
    read: Callable[[Row, Mapping], list[Turn]]
    """The turns of a row that has the needed columns. Raises DatasetError."""
    columns: tuple[tuple[str, ...], ...] = ()
    """The columns that a row needs, in each spelling; empty if the user chooses them."""
    optional: tuple[str, ...] = ()
    """Other columns that are read if a row has them."""
    pair: bool = True
    """Whether there is one prompt column and one response column, so that others can be chosen."""
    conversation: bool = False
    """Whether a row contains a list of turns."""
    fits: Callable[[Row], bool] | None = None
    """What else a row must have for the format to be detected."""


_FORMATS = (
    RecordFormat(
        "preference",
        "Preference: prompt, chosen, rejected",
        turns.read_preference,
        (("chosen",),),
        optional=("conversations", "messages", *turns.PROMPT_COLUMNS, "input", "system"),
        pair=False,
        fits=turns.is_preference,
    ),
    RecordFormat(
        "messages",
        "Messages: role and content",
        turns.read_messages,
        (("messages",),),
        pair=False,
        conversation=True,
    ),
    RecordFormat(
        "sharegpt",
        "ShareGPT: from and value",
        turns.read_sharegpt,
        (("conversations",),),
        optional=("system",),
        pair=False,
        conversation=True,
    ),
    RecordFormat(
        "prompt-completion",
        "Prompt and completion",
        turns.read_pair,
        (("prompt", "completion"), ("prompt", "response")),
        optional=("system",),
    ),
    RecordFormat(
        "alpaca",
        "Alpaca: instruction, input, output",
        turns.read_alpaca,
        (("instruction", "output"),),
        optional=("input", "system", "history"),
        pair=False,
    ),
    RecordFormat(
        "dolly",
        "Dolly: instruction, context, response",
        turns.read_dolly,
        (("instruction", "response"),),
        optional=("context",),
        pair=False,
    ),
    RecordFormat(
        "query-response",
        "Query and response",
        turns.read_pair,
        (("query", "response"), ("query", "answer")),
        optional=("system",),
    ),
    RecordFormat(
        "question-answer",
        "Question and answer",
        turns.read_pair,
        (("question", "answer"), ("question", "response")),
        optional=("system",),
    ),
    RecordFormat("columns", "Two columns of your choice", turns.read_pair, optional=("system",)),
)

FORMATS = {format.name: format for format in _FORMATS}
"""By name, in the order in which they are detected."""

BY_HAND = "columns"
"""The format whose columns the user always chooses."""


def find_format(name: str) -> RecordFormat:
    """The record format with a name. Raises DatasetError if it is unknown."""
    if name not in FORMATS:
        raise DatasetError(f"unknown format {name!r}; allowed: {', '.join(FORMATS)}")
    return FORMATS[name]


def needed_columns(mapping: Mapping) -> tuple[str, ...]:
    """The columns that a row must have, as the format names them. Raises DatasetError."""
    format = find_format(mapping.format)
    if not format.pair:
        return format.columns[0]
    prompts = template_columns(mapping.template) if mapping.template else [mapping.prompt_column or ""]
    return (*prompts, mapping.response_column or "")


def read_columns(mapping: Mapping) -> frozenset[str]:
    """The columns of the data that are read."""
    actual = {canonical: name for name, canonical in mapping.names}
    names = [*needed_columns(mapping), *find_format(mapping.format).optional]
    if mapping.without_bad:
        names += turns.LABELS
    return frozenset(actual.get(name, name) for name in names)


def is_conversation(mapping: Mapping) -> bool:
    """Whether a row contains a list of turns, so that a chat template is used."""
    return mapping.messages or find_format(mapping.format).conversation


def renamed(row: Row, mapping: Mapping) -> Row:
    """The row with the column names of the format."""
    if not mapping.names:
        return row
    names = dict(mapping.names)
    return {names.get(name, name): value for name, value in row.items()}


def fits(row: Row, mapping: Mapping) -> bool:
    """Whether a row has the columns that a mapping needs."""
    row = renamed(row, mapping)
    special = find_format(mapping.format).fits
    return all(name in row for name in needed_columns(mapping)) and (special is None or special(row))


def normalise(row: Row, mapping: Mapping) -> list[Turn]:
    """The turns of a row.

    Raises
    ------
    DatasetError
        With what is wrong with the row.
    """
    row = renamed(row, mapping)
    missing = [name for name in needed_columns(mapping) if name not in row]
    if missing:
        actual = {canonical: name for name, canonical in mapping.names}
        raise DatasetError(f"has no {actual.get(missing[0], missing[0])!r}")
    if mapping.without_bad and turns.is_marked_bad(row, mapping):
        raise DatasetError("the label is false: the response is marked as bad, and such rows are left out")
    read = find_format(mapping.format).read(row, mapping)
    answers = [turn for turn in read if turn["role"] == "assistant" and turn["content"].strip()]
    if not answers:
        raise DatasetError("no response")
    if not any(map(turns.is_response, answers)):
        raise DatasetError("no response that is trained on: its turns have weight 0")
    return read
