"""Cell values → text, and prompt templates."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from staff_engine.errors import DatasetError

Row = dict[str, Any]

SHOWN = 300
"""Maximum characters of a file's text in an error."""


def text_of(value: Any, name: str) -> str:
    """Text unchanged; numbers and booleans, which are common as answers, as JSON; null as empty text.

    Raises
    ------
    DatasetError
        If it is a list or an object, or is not valid text. `name` is the column or field.
    """
    if isinstance(value, str):
        _check_text(value, name)
        return value
    if is_missing(value):
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    fields = f" (its fields: {quoted(value)})" if isinstance(value, dict) and value else ""
    raise DatasetError(f"{name!r} is {kind_of_value(value)}, should be text{fields}")


def _check_text(text: str, name: str) -> None:
    """Raise DatasetError for an unpaired surrogate: text that UTF-8 does not have."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        if 0xDC80 <= code <= 0xDCFF:  # how Python marks a byte that cannot be decoded
            raise DatasetError(
                f"{name!r} is not UTF-8 text (byte 0x{code - 0xDC00:02x} at character {error.start + 1})"
            ) from None
        raise DatasetError(f"{name!r} is not valid text (\\u{code:04x} is an unpaired surrogate)") from None


def is_missing(value: Any) -> bool:
    """Null, or the NaN that data frames write for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def kind_of_value(value: Any) -> str:
    """The type of a JSON value, with its article."""
    return {list: "a list", dict: "an object", str: "text", type(None): "null"}.get(type(value), "a number")


def shown(text: str) -> str:
    """A file's text for an error message: truncated, with unpaired surrogates escaped."""
    short = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return short.encode("utf-8", "backslashreplace").decode("utf-8")


def quoted(names: Collection[str]) -> str:
    """Column names for a message, in quotes, because they may contain spaces."""
    listed = ", ".join(map(repr, list(names)[:20]))
    return (shown(listed) + (", …" if len(names) > 20 else "")) or "none"


def compile_template(template: str) -> list[tuple[str, str | None]]:
    """A prompt template as pairs of a text and the column after it.

    `{name}` is the value of a column; `{{` and `}}` are braces; `\\n` and `\\t` are a line break and a tab,
    because they are hard to type in a shell and in a text field.

    Raises
    ------
    DatasetError
        If a brace is not closed, or no column is named.

    Examples
    --------
    >>> compile_template("Summarize: {dialogue}")
    [('Summarize: ', 'dialogue')]
    """
    plain = template.replace("\\n", "\n").replace("\\t", "\t")
    try:
        parts = list(_split(plain))
    except DatasetError as error:
        raise DatasetError(f"prompt template {shown(template)!r}: {error}") from None
    if not any(name for _, name in parts):
        raise DatasetError(
            f"prompt template {shown(template)!r} names no column; "
            "write column names in braces, as {dialogue}"
        )
    if any(name == "" for _, name in parts):
        raise DatasetError(f"prompt template {shown(template)!r} has empty braces; name a column in them")
    return parts


def _split(template: str) -> Iterator[tuple[str, str | None]]:
    """The texts of a template, each with the column name in braces after it."""
    text = ""
    for piece in re.split(r"(\{\{|\}\}|\{[^{}]*\})", template):
        if piece in ("{{", "}}"):
            text += piece[0]
        elif piece.startswith("{") and piece.endswith("}"):
            yield text, piece[1:-1]
            text = ""
        elif "{" in piece or "}" in piece:
            raise DatasetError("a brace has no partner; write {{ or }} for a brace in the text")
        else:
            text += piece
    if text:
        yield text, None


def template_columns(template: str) -> list[str]:
    """The columns that a template names, each once. Raises DatasetError."""
    return list(dict.fromkeys(name for _, name in compile_template(template) if name))


def fill_template(parts: Sequence[tuple[str, str | None]], row: Row) -> str:
    """The prompt of a row: the template with the values of the columns, without white space at its ends.

    Raises
    ------
    DatasetError
        If a column is missing in the row, or is not text; a null is empty text.
    """
    filled = []
    for text, name in parts:
        filled.append(text)
        if name is not None:
            if name not in row:
                raise DatasetError(f"has no {name!r}")
            filled.append(text_of(row[name], name))
    return "".join(filled).strip()
