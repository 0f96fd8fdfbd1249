"""JSON arrays → rows."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from staff_engine.errors import DatasetError


def json_rows(file: IO[bytes], path: Path) -> Generator[dict[str, Any]]:
    try:
        raw = file.read()
        # a byte that is no text is to hurt its row, not the file
        content = json.loads(raw.decode(json.detect_encoding(raw), "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON: {error}") from None
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        if len(lists) != 1:
            raise DatasetError(f"{path} is a JSON object with {len(lists)} lists; an array of rows is needed")
        content = lists[0]
    if not isinstance(content, list):
        raise DatasetError(f"{path} holds a {type(content).__name__}; an array of rows is needed")
    yield from content
