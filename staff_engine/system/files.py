"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from staff_engine.errors import RunError

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on success it takes `path`'s place.

    If the block raises, the part is removed and `path` stays as it was.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` to fill; on success it is renamed to `path`, else removed."""
    part = path.with_name(f"{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON with sorted-as-given keys, replacing `path` at once."""
    with replaced(path) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_model(path: Path, kind: type[Model]) -> Model:
    """Read a JSON file as a pydantic model. Raises RunError if it is missing or damaged."""
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{path} is damaged: {f'{where}: ' if where else ''}{first['msg']}") from None
