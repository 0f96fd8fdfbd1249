"""Atomic files: written under a temporary name, flushed to the disk, then renamed.

The flush comes before the rename. So after a power failure, no name exists whose content was not
written. The flush takes time: for a file of 1 kB, 1 ms on an idle ext4 disk of a virtual machine
and 8 ms on a busy one. Writing and renaming alone take 0.3 ms.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from staff_engine.errors import RunError

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
"""Permissions of what holds people's data."""

_masks: list[int] = []
"""The user's own umask, inside `private_files`."""

CHECKSUM = "checksum"
"""The last field of a file that `write_checked` wrote: the sha256 of everything before it."""

_SEAL = re.compile(rb',\n "checksum": "sha256:([0-9a-f]{64})"\n}\n\Z')


@contextmanager
def replaced(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a path next to `path` to write to; on success it replaces `path`.

    If the block raises, the part is removed and `path` is unchanged.

    Parameters
    ----------
    durable
        Whether the content is flushed to the disk before the rename. Without it `path` can be
        empty after a power failure. This is for a file that is replaced several times a second
        and is not essential to its readers.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        if durable:
            rename_flushed(part, path)
        else:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder next to `path` to fill; on success it is renamed to `path`, else removed."""
    part = path.with_name(f"{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        rename_flushed(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def rename_flushed(part: Path, path: Path) -> None:
    """Rename a file, or a folder with its content, after the content is on the disk.

    The parent folder of `path` is flushed last: then the new name is on the disk too.
    """
    if part.is_dir():
        for inner in part.rglob("*"):
            if not inner.is_symlink():
                _flush(inner)
    _flush(part)
    part.replace(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(opened)


def write_json(path: Path, content: Any, *, durable: bool = True) -> None:
    """Write `content` as JSON with its keys in the given order, replacing `path` atomically.

    `durable` is as in `replaced`.
    """
    with replaced(path, durable=durable) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_checked(path: Path, content: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write a JSON object like `write_json`, with a checksum as its last field.

    `read_checked` and `read_model` then refuse the file if a byte of it has changed.
    """
    plain = {name: value for name, value in content.items() if name != CHECKSUM}
    text = json.dumps(plain, indent=1, ensure_ascii=False)
    if plain:
        body = text.removesuffix("\n}")
        digest = hashlib.sha256(body.encode("utf-8")).hexdigest()
        text = f'{body},\n "{CHECKSUM}": "sha256:{digest}"\n}}'
    with replaced(path, durable=durable) as part:
        part.write_text(f"{text}\n", encoding="utf-8")
        part.chmod(PRIVATE_FILE)


def private_folder(path: Path) -> Path:
    """Create a folder that only this user can open, unless it exists; returns it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    return path


@contextmanager
def private_files() -> Iterator[None]:
    """Let this process create files that only its user can read, inside the block."""
    _masks.append(os.umask(0o777 - PRIVATE_FOLDER))
    try:
        yield
    finally:
        os.umask(_masks.pop())


@contextmanager
def usual_files() -> Iterator[None]:
    """Inside `private_files`, let this process create files as its user has set (umask)."""
    before = os.umask(_masks[-1]) if _masks else None
    try:
        yield
    finally:
        if before is not None:
            os.umask(before)


def read_checked(path: Path) -> Any:
    """Read a JSON file, without its checksum.

    Raises
    ------
    RunError
        If it is missing, is not JSON, or differs from what `write_checked` wrote.
    """
    try:
        content = json.loads(_checked_bytes(path))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}") from None
    if isinstance(content, dict):
        content.pop(CHECKSUM, None)
    return content


def read_model(path: Path, kind: type[Model]) -> Model:
    """Read a JSON file as a pydantic model. Raises RunError if it is missing or damaged."""
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(_checked_bytes(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{path} is damaged: {f'{where}: ' if where else ''}{first['msg']}") from None


def _checked_bytes(path: Path) -> bytes:
    """A file's bytes without the checksum, if it has one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    seal = _SEAL.search(content)
    if seal is None:
        return content
    body = content[: seal.start()]
    if hashlib.sha256(body).hexdigest().encode() != seal[1]:
        raise RunError(
            f'{path} is damaged: it differs from what was written (if you edited it, remove "{CHECKSUM}")'
        )
    return body + b"\n}"
