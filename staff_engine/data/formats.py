"""Record formats: detect the format of a file, and convert its rows to turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from staff_engine.data import turns
from staff_engine.data.turns import Row, Turn
from staff_engine.errors import DatasetError


@dataclass(frozen=True)
class RecordFormat:
    """How the rows of a file contain prompt and response."""

    name: str
    """Its name in settings: a-z and -."""
    label: str
    """Its name for people."""
    read: Callable[[Row, Sequence[str]], list[Turn]]
    """The turns of a row, given the columns that it needs. Raises DatasetError."""
    columns: tuple[tuple[str, ...], ...] = ()
    """The columns that a row needs, in each spelling; empty if the user chooses them."""
    pair: bool = True
    """Whether there is one prompt column and one response column, so that others can be chosen."""
    conversation: bool = False
    """Whether a row contains a list of turns."""


_FORMATS = (
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
        pair=False,
        conversation=True,
    ),
    RecordFormat(
        "prompt-completion",
        "Prompt and completion",
        turns.read_pair,
        (("prompt", "completion"), ("prompt", "response")),
    ),
    RecordFormat(
        "alpaca",
        "Alpaca: instruction, input, output",
        turns.read_alpaca,
        (("instruction", "output"),),
        pair=False,
    ),
    RecordFormat("query-response", "Query and response", turns.read_pair, (("query", "response"),)),
    RecordFormat("question-answer", "Question and answer", turns.read_pair, (("question", "answer"),)),
    RecordFormat("columns", "Two columns of your choice", turns.read_pair),
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


@dataclass(frozen=True)
class Mapping:
    """A record format and, for pairs, the columns of prompt and response."""

    format: str
    prompt_column: str | None = None
    response_column: str | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a row must have. Raises DatasetError if the format is unknown."""
        format = find_format(self.format)
        return (self.prompt_column or "", self.response_column or "") if format.pair else format.columns[0]


def _mappings(format: RecordFormat) -> list[Mapping]:
    """A format with each spelling of its columns."""
    return [Mapping(format.name, *(columns if format.pair else ())) for columns in format.columns]


def detect_format(rows: Sequence[Row]) -> Mapping:
    """The first known format whose columns are in most of the rows.

    Raises
    ------
    DatasetError
        If no format fits more than half of the rows. The message names the formats that fit
        some rows, or the columns of the data.
    """
    partial: dict[str, int] = {}
    for mapping in (each for format in FORMATS.values() for each in _mappings(format)):
        fitting = sum(_fits(row, mapping) for row in rows)
        if 2 * fitting > len(rows):
            return mapping
        if fitting:
            partial[mapping.format] = max(fitting, partial.get(mapping.format, 0))
    if partial:
        counts = ", ".join(f"{name} fits {count}" for name, count in partial.items())
        raise DatasetError(
            f"no record format fits most of the first {len(rows)} rows ({counts}); choose one with --format"
        )
    raise DatasetError(
        f"no known record format has the columns {_columns(rows)}; set --prompt-column and --response-column"
    )


def _fits(row: Row, mapping: Mapping) -> bool:
    return all(name in row for name in mapping.needed)


def choose_mapping(
    rows: Sequence[Row], format: str | None, prompt_column: str | None, response_column: str | None
) -> Mapping:
    """The requested mapping, or the detected one.

    Raises
    ------
    DatasetError
        If the format is unknown, cannot be used with the given columns, or no row has its
        columns.
    """
    known = None if format is None else find_format(format)
    if format == BY_HAND and (prompt_column is None or response_column is None):
        raise DatasetError(f"format {BY_HAND!r} needs --prompt-column and --response-column")
    if (prompt_column is None) != (response_column is None):
        raise DatasetError("--prompt-column and --response-column must be used together")
    if prompt_column is not None and known and not known.pair:
        raise DatasetError(
            f"format {format!r} has fixed columns; use --prompt-column with format {BY_HAND!r}"
        )
    if prompt_column is not None:
        mapping = Mapping(format or BY_HAND, prompt_column, response_column)
    elif known is None:
        return detect_format(rows)
    else:
        named = _mappings(known)
        mapping = next((m for m in named if any(_fits(row, m) for row in rows)), named[0])
    if not any(_fits(row, mapping) for row in rows):
        raise DatasetError(
            f"format {mapping.format!r} needs the columns {', '.join(mapping.needed)}; "
            f"the data has {_columns(rows)}"
        )
    return mapping


def _columns(rows: Sequence[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row)
    return turns.shown(", ".join(list(names)[:20])) or "none"


def normalise(row: Row, mapping: Mapping) -> list[Turn]:
    """The turns of a row: role system, user, assistant or tool, and content.

    Raises
    ------
    DatasetError
        With what is wrong with the row.
    """
    missing = [name for name in mapping.needed if name not in row]
    if missing:
        raise DatasetError(f"has no {missing[0]!r}")
    read = find_format(mapping.format).read(row, mapping.needed)
    if not any(turn["role"] == "assistant" and turn["content"].strip() for turn in read):
        raise DatasetError("no response")
    return read
