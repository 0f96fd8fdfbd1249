"""Compressed files: the known compressions, and how to open them."""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staff_engine.data.files.bounds import most_unpacked, unpacks_too_far
from staff_engine.errors import DatasetError

BUFFER = 2**18
"""Bytes that are read from a file at a time."""

XZ_MEMORY = 2**28
"""Maximum bytes of memory for unpacking an .xz file; its strongest preset needs a quarter of them."""


@dataclass(frozen=True)
class Compression:
    """A way to compress a file."""

    suffix: str
    label: str
    """Its name for people."""
    unpack: Callable[[Path], Any]
    """Opens a file for reading its unpacked bytes: an object with `read(count)` and `close()`."""


def _arrow_unpacker(codec: str) -> Callable[[Path], Any]:
    def unpack(path: Path) -> Any:
        import pyarrow as pa  # unlike others, it detects a truncated file

        return pa.CompressedInputStream(pa.OSFile(str(path), "rb"), codec)

    return unpack


class _Xz:
    """An .xz file, read with a bound on memory, which `lzma.open` does not have."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)

    def read(self, count: int) -> bytes:
        while True:
            if self._decoder.eof:  # a file may consist of several streams
                rest = self._decoder.unused_data.lstrip(b"\x00") or self._file.read(BUFFER).lstrip(b"\x00")
                if not rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)
            else:
                rest = self._file.read(BUFFER) if self._decoder.needs_input else b""
                if not rest and self._decoder.needs_input:
                    raise EOFError("Truncated compressed stream")
            if piece := self._decoder.decompress(rest, count):
                return piece

    def close(self) -> None:
        self._file.close()


COMPRESSIONS = {
    each.suffix: each
    for each in (
        Compression(".gz", "gzip", _arrow_unpacker("gzip")),
        Compression(".zst", "Zstandard", _arrow_unpacker("zstd")),
        Compression(".bz2", "bzip2", bz2.BZ2File),
        Compression(".xz", "xz", _Xz),
    )
}
"""By suffix."""

COMPRESSED = tuple(COMPRESSIONS)


def compression_of(path: Path) -> Compression | None:
    """The compression of a file, by its name; None if it is not compressed."""
    return COMPRESSIONS.get(path.suffix.lower())


def bare(path: Path) -> Path:
    """The path without the suffix of the compression."""
    return path.with_suffix("") if compression_of(path) else path


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading bytes, decompressed if needed.

    Raises
    ------
    DatasetError
        Also while it is read: if it is damaged, or unpacks to more than `bounds.most_unpacked`.
    """
    compression = compression_of(path)
    try:
        bound = most_unpacked(path.stat().st_size) if compression else None
        source = compression.unpack(path) if compression else path.open("rb", buffering=0)
    except Exception as error:  # each library has errors of its own
        raise unreadable(path, error) from None
    with closing(source), io.BufferedReader(_Content(source, path, bound), BUFFER) as file:
        yield file


def unreadable(path: Path, error: Exception) -> DatasetError:
    """The error for a file that cannot be opened, read or decompressed."""
    if isinstance(error, DatasetError):
        return error
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DatasetError(f"data file {str(path)!r} cannot be read: {reason or type(error).__name__}")


class _Content(io.RawIOBase):
    """The unpacked bytes of a file, up to a bound; all errors are DatasetErrors."""

    def __init__(self, source: Any, path: Path, bound: int | None) -> None:
        self._source = source
        self._path = path
        self._bound = bound
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._source.read(len(buffer))
        except Exception as error:  # each library has errors of its own
            raise unreadable(self._path, error) from None
        self._read += len(piece)
        if self._bound is not None and self._read > self._bound:
            raise unpacks_too_far(str(self._path), self._bound)
        buffer[: len(piece)] = piece
        return len(piece)
