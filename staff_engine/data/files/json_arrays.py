"""JSON arrays → rows, one after the other: only a part of the file is in memory.

Python's own decoder reads each element, so every value is the same as with `json.loads`. An
array of 200 MB takes 0.9 s of processor time and 5 MB of memory; read whole it took 730 MB. ijson
3.6 with its C backend takes 0.6 s, but it reads other values: it rejects NaN, Infinity, bytes that
are not UTF-8, a byte order mark and UTF-16, returns floats as Decimal or rejects 1e400, and
replaces an unpaired surrogate with "?".
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from staff_engine.data.files.bounds import most_in_value, value_too_large
from staff_engine.data.files.data_file import DataFile
from staff_engine.errors import DatasetError

CHUNK = 2**18
"""Bytes that are read at a time; more if a single element is larger."""

MARGIN = 16
"""Characters that must follow a value, or an error, for it to be final.

A number, a literal (`-Infinity`) or an escape (`\\ud83d\\ude00`) may continue after the piece.
"""

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def json_rows(file: IO[bytes], source: DataFile) -> Generator[Any]:
    """The elements of a JSON array, or of the only list of rows in a JSON object.

    Memory grows with the largest element, not with the file. An object is read twice, because
    only its end shows which list is the only one.

    Parameters
    ----------
    file
        The open file. An invalid byte becomes an unpaired surrogate, so only its row is
        unusable, not the file.
    source
        Which file it is.

    Raises
    ------
    DatasetError
        If the part that is read is not JSON, or has no array of rows.
    """
    path = source.path
    try:
        text = _Text(file)
        if text.peek() == "{":
            wanted = _only_list(text, path)
            with source.open_text() as again:
                yield from _list_of(_Text(again), wanted)
        elif text.peek() == "[":
            yield from text.elements()
            text.end()
        else:
            kind = type(text.value()).__name__
            text.end()
            raise DatasetError(f"{path} contains a {kind}, not an array of rows")
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON: {error}") from None


@dataclass(frozen=True)
class _Member:
    """A member of an object: its index, and the type of its first element if it is a list."""

    index: int
    kind: type
    first: type | None = None


def _only_list(text: _Text, path: Path) -> int:
    """The index of the only list in the next object, or of the only list of objects among several.

    Of members with equal names the last counts.
    """
    members: dict[str, _Member] = {}
    for index, name in enumerate(text.members()):
        if text.peek() == "[":
            first = None
            for element in text.elements():
                first = first or type(element)
            members[name] = _Member(index, list, first)
        else:
            members[name] = _Member(index, type(text.value()))
    text.end()
    lists = {name: member for name, member in members.items() if member.kind is list}
    rows = {name: member for name, member in lists.items() if member.first is dict}
    chosen = rows if len(rows) == 1 else lists
    if len(chosen) == 1:
        return next(iter(chosen.values())).index
    if len(members) > 1 and all(member.kind is dict for member in members.values()):
        raise DatasetError(
            f"{path} is one JSON object of columns, as pandas writes it by default; "
            "write rows instead: frame.to_json(path, orient='records', lines=True)"
        )
    named = f" ({', '.join(map(repr, list(rows or lists)[:5]))})" if chosen else ""
    raise DatasetError(
        f"{path} is a JSON object with {len(lists)} lists{named}; it needs exactly one list of rows, "
        "or the file must be an array of rows"
    )


def _list_of(text: _Text, wanted: int) -> Iterator[Any]:
    """The elements of one member, a list, of the next object."""
    for number, _ in enumerate(text.members()):
        if number == wanted:
            yield from text.elements()
            return
        text.value()


class _Text:
    """The text of a file, read piece by piece and parsed from its beginning.

    Errors are `ValueError`s with the wording of `json`; their positions are those in the file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        head = file.read(max(CHUNK, 4))  # four bytes determine the encoding
        encoding = json.detect_encoding(head)
        self._decode = codecs.getincrementaldecoder(encoding)("surrogateescape").decode
        self._ended = not head
        self._text = self._decode(head, self._ended)
        self._index = 0
        self._most = most_in_value()
        # of the first character of the piece, in the file
        self._first, self._line, self._column = 0, 1, 1

    def peek(self) -> str:
        """The next character that is not a space; "" at the end."""
        while True:
            self._index = _SPACE.match(self._text, self._index).end()  # type: ignore[union-attr]
            if self._index < len(self._text) or self._ended:
                return self._text[self._index : self._index + 1]
            self._read_on()

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._index)
            except json.JSONDecodeError as error:
                if self._ended or not self._may_end_later(error):
                    raise self._error(error.msg, error.pos) from None
            else:
                if self._ended or end + MARGIN <= len(self._text):
                    self._index = end
                    return value
            self._read_on()

    def elements(self) -> Iterator[Any]:
        """The elements of the next array."""
        return self._items("[", "]", self.value)

    def members(self) -> Iterator[str]:
        """The names in the next object; the caller reads the value after each."""
        return self._items("{", "}", self._name)

    def end(self) -> None:
        """Raise an error if anything follows."""
        if self.peek():
            raise self._error("Extra data", self._index)

    def _items(self, opening: str, closing: str, take: Callable[[], Any]) -> Iterator[Any]:
        self._take(opening)
        if self.peek() == closing:
            self._take(closing)
            return
        while True:
            yield take()
            if self.peek() == closing:
                self._take(closing)
                return
            self._take(",")

    def _name(self) -> str:
        if self.peek() != '"':
            raise self._error("Expecting property name enclosed in double quotes", self._index)
        name: str = self.value()
        self._take(":")
        return name

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise self._error(f"Expecting {character!r} delimiter", self._index)
        self._index += 1

    def _may_end_later(self, error: json.JSONDecodeError) -> bool:
        """Whether a value may be wrong only because the piece ends in it."""
        return error.msg.startswith("Unterminated string") or error.pos + MARGIN > len(self._text)

    def _read_on(self) -> None:
        """Drop the parsed part and read another piece, twice as large if one was not enough."""
        self._first, self._line, self._column = self._position(self._index)
        self._text = self._text[self._index :]
        self._index = 0
        if len(self._text) > self._most:
            raise value_too_large(f"the value at line {self._line:,} column {self._column:,}")
        raw = self._file.read(max(CHUNK, len(self._text)))
        self._ended = not raw
        self._text += self._decode(raw, self._ended)

    def _position(self, index: int) -> tuple[int, int, int]:
        """Index of the character in the file, from 0; its line and column, from 1."""
        lines = self._text.count("\n", 0, index)
        column = index - self._text.rfind("\n", 0, index) if lines else self._column + index
        return self._first + index, self._line + lines, column

    def _error(self, message: str, index: int) -> ValueError:
        number, line, column = self._position(index)
        return ValueError(f"{message}: line {line} column {column} (char {number})")
