"""A data file, and how its text is read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from staff_engine.data.files.compression import opened
from staff_engine.data.files.encodings import as_utf8, check_encoding


@dataclass(frozen=True)
class DataFile:
    """A data file, and how its text is read.

    Attributes
    ----------
    path
        The file.
    encoding
        The encoding of its text; None: detected.
    delimiter
        The character between the cells of a table; None: detected.
    """

    path: Path
    encoding: str | None = None
    delimiter: str | None = None

    @contextmanager
    def open_text(self) -> Iterator[io.BufferedReader]:
        """Open the file for reading its text in UTF-8. Raises DatasetError."""
        check_encoding(self.encoding)
        with opened(self.path) as file:
            yield as_utf8(file, self.path, self.encoding)
