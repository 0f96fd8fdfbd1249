"""Text files in any encoding → UTF-8."""

from __future__ import annotations

import codecs
import io
import json
from pathlib import Path
from typing import IO, Any

from staff_engine.errors import DatasetError

HEAD = 4
"""Bytes from which UTF-16 and UTF-32 are recognised."""

PIECE = 2**18

EXAMPLES = "gb18030, cp1252 or shift_jis"
"""Encodings that a message proposes: those of Excel in China, Western Europe and Japan."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; the longer of two with the same beginning first."""


def check_encoding(name: str | None) -> None:
    """Raise DatasetError if Python does not know an encoding of text."""
    if name is None:
        return
    try:
        text = codecs.lookup(name)._is_text_encoding  # base64 and the like are codecs too
    except (LookupError, ValueError):
        text = False
    if not text:
        raise DatasetError(f"unknown encoding {name!r}; examples of known ones: {EXAMPLES}")


def detect_encoding(head: bytes) -> str:
    """The encoding of a text that begins with these bytes.

    A byte order mark determines it. Without one, zero bytes among the first four mean UTF-16 or UTF-32,
    because a text in UTF-8 has none. Anything else is taken for UTF-8.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    return json.detect_encoding(head[:4]) if 0 in head[:4] else "utf-8"


def is_utf8(encoding: str) -> bool:
    """Whether an encoding is UTF-8, or a part of it."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def as_utf8(file: io.BufferedReader, path: Path, given: str | None) -> io.BufferedReader:
    """The same text in UTF-8: `file` itself if it is in UTF-8 already.

    Raises
    ------
    DatasetError
        While it is read, if a byte does not fit the encoding.
    """
    encoding = given or detect_encoding(file.peek(HEAD)[:HEAD])
    if is_utf8(encoding):
        return file
    return io.BufferedReader(_Transcoded(file, path, encoding), PIECE)


class _Transcoded(io.RawIOBase):
    """The text of a file, as UTF-8."""

    def __init__(self, file: IO[bytes], path: Path, encoding: str) -> None:
        self._file = file
        self._path = path
        self._encoding = encoding
        self._decode = codecs.getincrementaldecoder(encoding)("strict").decode
        self._left = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._ended:
            raw = self._file.read(PIECE)
            self._ended = not raw
            try:
                text = self._decode(raw, self._ended)
                self._left = text.encode("utf-8", "surrogatepass")
            except (UnicodeError, ValueError, OverflowError) as error:
                raise DatasetError(
                    f"data file {str(self._path)!r} is not text in {self._encoding} ({error}); "
                    f"give its encoding with --encoding, for example {EXAMPLES}"
                ) from None
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
