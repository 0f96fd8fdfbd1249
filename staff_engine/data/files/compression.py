"""Compressed files: the known compressions, and how to open them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Compression:
    """A way to compress a file."""

    suffix: str
    codec: str
    """Its name in pyarrow."""
    label: str
    """Its name for people."""


COMPRESSIONS = {
    each.suffix: each
    for each in (Compression(".gz", "gzip", "gzip"), Compression(".zst", "zstd", "Zstandard"))
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
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes, decompressed if needed. A damaged file raises OSError."""
    compression = compression_of(path)
    if compression is None:
        with path.open("rb") as file:
            yield file
        return
    import pyarrow as pa  # unlike others, it detects a truncated file

    with pa.OSFile(str(path), "rb") as packed, pa.CompressedInputStream(packed, compression.codec) as stream:
        yield io.BufferedReader(stream)
