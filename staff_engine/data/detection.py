"""Which record format a data set has: detected from its first rows, or chosen by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from staff_engine.data.formats import (
    BY_HAND,
    FORMATS,
    RecordFormat,
    find_format,
    fits,
    needed_columns,
    renamed,
)
from staff_engine.data.reading import DETECT, Mapping, Reading
from staff_engine.data.texts import Row, quoted, template_columns
from staff_engine.data.turns import ROLES, is_messages
from staff_engine.errors import DatasetError

COMMON_PAIRS = (
    ("dialogue", "summary"),
    ("article", "highlights"),
    ("document", "summary"),
    ("text", "summary"),
    ("source", "target"),
    ("input", "output"),
    ("input", "target"),
    ("text", "label"),
    ("sentence", "label"),
)
"""Columns that often are prompt and response. They are proposed, because some mean something else."""


def detect_format(rows: Sequence[Row]) -> Mapping:
    """The first known format whose columns are in most of the rows, in any case.

    Raises
    ------
    DatasetError
        If no format fits more than half of the rows. The message names the formats that fit
        some rows, or the columns of the data, with a proposal.
    """
    partial: dict[str, int] = {}
    names = columns_of(rows)
    for mapping in (each for format in FORMATS.values() for each in _mappings(format, names)):
        fitting = sum(fits(row, mapping) for row in rows)
        if 2 * fitting > len(rows):
            return mapping
        if fitting:
            partial[mapping.format] = max(fitting, partial.get(mapping.format, 0))
    if partial:
        counts = ", ".join(f"{name} fits {count}" for name, count in partial.items())
        raise DatasetError(
            f"no record format fits most of the first {len(rows)} rows ({counts}); choose one with --format"
        )
    raise DatasetError(f"no known record format has the columns {quoted(names)}; {_advice(rows, names)}")


def choose_mapping(rows: Sequence[Row], settings: Reading = DETECT) -> Mapping:
    """The requested mapping, or the detected one.

    Raises
    ------
    DatasetError
        If the format is unknown, cannot be used with the given columns, or no row has its
        columns.
    """
    _check(settings)
    names = columns_of(rows)
    if settings.conversation_column is not None:
        mapping = Mapping("messages", names=((settings.conversation_column, "messages"),))
        if settings.conversation_column == "messages":
            mapping = Mapping("messages")
    elif settings.response_column is not None:
        mapping = Mapping(
            settings.format or BY_HAND,
            settings.prompt_column,
            settings.response_column,
            template=settings.prompt_template,
        )
    elif settings.format is None:
        mapping = detect_format(rows)
    else:
        named = _mappings(find_format(settings.format), names)
        mapping = next((each for each in named if any(fits(row, each) for row in rows)), named[0])
    _check_columns(mapping, rows, names)
    return replace(
        mapping,
        roles=parse_roles(settings.roles),
        messages=_has_messages(mapping, rows),
        reasoning=settings.reasoning == "include",
        without_bad=settings.bad_labels == "exclude",
    )


def parse_roles(text: str | None) -> tuple[tuple[str, str], ...]:
    """The roles in a text such as "customer=user,agent=assistant". Raises DatasetError."""
    allowed = tuple(dict.fromkeys(ROLES.values()))
    roles = []
    for part in filter(None, map(str.strip, (text or "").split(","))):
        name, equals, role = (each.strip() for each in part.rpartition("="))
        if not equals or not name or role not in allowed:
            raise DatasetError(
                f"roles has {part!r}; allowed: NAME=ROLE, where the role is {', '.join(allowed)}, "
                "for example customer=user,agent=assistant"
            )
        roles.append((name, role))
    return tuple(roles)


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The field names of the rows, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def propose_pair(names: Sequence[str]) -> tuple[str, str] | None:
    """Columns that are probably prompt and response, in the spelling of the data."""
    actual = {_plain(name): name for name in reversed(names)}
    for prompt, response in COMMON_PAIRS:
        if prompt in actual and response in actual:
            return actual[prompt], actual[response]
    return None


def propose_conversation(rows: Sequence[Row]) -> str | None:
    """A column whose first value is a list of objects with a role."""
    for name in columns_of(rows):
        value = next((row[name] for row in rows if row.get(name)), None)
        if isinstance(value, list) and is_messages(value):
            return name
    return None


def _check(settings: Reading) -> None:
    """Raise DatasetError for settings that contradict each other."""
    format, template = settings.format, settings.prompt_template
    known = None if format is None else find_format(format)
    prompt = settings.prompt_column is not None or template is not None
    if settings.prompt_column is not None and template is not None:
        raise DatasetError("--prompt-template and --prompt-column cannot be used together")
    if settings.conversation_column is not None and (prompt or format not in (None, "messages")):
        raise DatasetError(
            "--conversation-column is for a list of messages; it cannot be used with another format or with "
            "a prompt column"
        )
    if format == BY_HAND and not (prompt and settings.response_column is not None):
        raise DatasetError(
            f"format {BY_HAND!r} needs --response-column, and --prompt-column or --prompt-template"
        )
    if template is not None and settings.response_column is None:
        raise DatasetError("--prompt-template needs --response-column")
    if prompt != (settings.response_column is not None):
        raise DatasetError("--prompt-column and --response-column must be used together")
    if prompt and known and not known.pair:
        raise DatasetError(
            f"format {format!r} has fixed columns; use --prompt-column with format {BY_HAND!r}"
        )
    if template is not None:
        template_columns(template)


def _check_columns(mapping: Mapping, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Raise DatasetError if no row has the columns of a mapping."""
    if any(fits(row, mapping) for row in rows):
        return
    actual = {canonical: name for name, canonical in mapping.names}
    needed = [actual.get(name, name) for name in needed_columns(mapping)]
    what = "the prompt template" if mapping.template else f"format {mapping.format!r}"
    absent = [name for name in needed if name not in names]
    also = f"; no row has {quoted(absent)}" if absent and len(absent) < len(needed) else ""
    raise DatasetError(f"{what} needs the columns {quoted(needed)}; the data has {quoted(names)}{also}")


def _mappings(format: RecordFormat, names: Sequence[str]) -> list[Mapping]:
    """A format with each spelling of its columns, as the data writes them."""
    actual = {_plain(name): name for name in reversed(names)}
    mappings = []
    for columns in format.columns:
        if format.pair:
            prompt, response = (name if name in names else actual.get(name, name) for name in columns)
            mappings.append(Mapping(format.name, prompt, response))
        else:
            wanted = (*columns, *format.optional)
            others = [(actual[name], name) for name in wanted if name not in names and name in actual]
            mappings.append(Mapping(format.name, names=tuple(others)))
    return mappings


def _has_messages(mapping: Mapping, rows: Sequence[Row]) -> bool:
    """Whether the prompt or response of a pair or a preference are messages, not text."""
    if find_format(mapping.format).conversation:
        return False
    first = renamed(next(row for row in rows if fits(row, mapping)), mapping)
    names = (*needed_columns(mapping), *find_format(mapping.format).optional)
    return any(is_messages(first.get(name)) for name in names)


def _advice(rows: Sequence[Row], names: Sequence[str]) -> str:
    """What a person can do for columns that no format has."""
    pair = propose_pair(names)
    if pair:
        return f"try --prompt-column {pair[0]!r} --response-column {pair[1]!r}"
    conversation = propose_conversation(rows)
    if conversation:
        return f"try --conversation-column {conversation!r}"
    if [_plain(name) for name in names] == ["text"]:
        return (
            "a column of whole texts does not show where a response begins; split each text into a prompt"
            " and a completion, or into messages"
        )
    return "set --prompt-column (or --prompt-template) and --response-column"


def _plain(name: str) -> str:
    """A column name in lower case, without the spaces around it."""
    return name.strip().lower()
