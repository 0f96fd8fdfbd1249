"""Addresses such as s3://bucket/part-*.jsonl or hf://datasets/org/name/train.parquet → files on this machine.

fsspec opens them. A file is copied to `<home>/downloads/` once for each of its versions.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staff_engine.data.files.kinds import is_data_file, suffix_of
from staff_engine.errors import DatasetError
from staff_engine.program import SCRIPT
from staff_engine.system.files import replaced
from staff_engine.system.home import home
from staff_engine.system.words import natural_key

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

KEPT = 20
"""Copies to keep; the ones that were made first are deleted first."""

PIECE = 2**20

VERSION = ("size", "ETag", "etag", "mtime", "LastModified", "created")
"""What file systems know of the version of a file; each knows some of it."""


def is_address(source: str) -> bool:
    """Whether a source is an address with a protocol, as `s3://…`."""
    return "://" in source


def files_at(address: str) -> list[Path]:
    """Copy the files of an address to this machine, unless they are there; in natural order of their names.

    Parameters
    ----------
    address
        A file, a folder or a pattern. A `file://` address is not copied.

    Raises
    ------
    DatasetError
        If it does not exist, cannot be read, has no data file, or needs a package that is not installed.
    """
    try:
        system, names = _find(address)
        if "file" in _protocols(system):
            return [Path(name) for name in names]
        return [_copied(system, name) for name in names]
    except DatasetError:
        raise
    except ImportError as error:
        raise DatasetError(
            f"{address!r} needs a package that is not installed: {error}; "
            f"install it with: pip install '{SCRIPT}[remote]'"
        ) from None
    except Exception as error:  # each file system has errors of its own
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DatasetError(f"data set {address!r} cannot be read: {reason}") from None


def _find(address: str) -> tuple[AbstractFileSystem, list[str]]:
    """The file system of an address, and the names of its data files there."""
    import fsspec

    system, path = fsspec.url_to_fs(address)
    if any(letter in path for letter in "*?["):
        found = [name for name in system.glob(path) if system.isfile(name)]
    elif system.isdir(path):
        found = [name for name in system.ls(path, detail=False) if _is_shard(name)]
    else:
        found = [path] if system.exists(path) else []
    if not found:
        raise DatasetError(f"data set {address!r} does not exist, or has no data files")
    for name in found:
        suffix_of(Path(name))
    return system, sorted(found, key=natural_key)


def _is_shard(name: str) -> bool:
    return is_data_file(Path(name)) and not Path(name).name.startswith((".", "_"))


def _copied(system: AbstractFileSystem, name: str) -> Path:
    """The copy of a file, made if there is none of this version."""
    folder = home() / "downloads"
    path = folder / _key(system, name) / Path(name).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as part, system.open(name, "rb") as source, part.open("wb") as out:
            shutil.copyfileobj(source, out, PIECE)
        _prune(folder)
    return path


def _key(system: AbstractFileSystem, name: str) -> str:
    """A key that changes with the name of a file and with its version, as far as the file system knows it."""
    facts = system.info(name)
    version: list[Any] = [facts.get(each) for each in VERSION]
    content = json.dumps([_protocols(system), name, version], default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _protocols(system: AbstractFileSystem) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def _prune(folder: Path) -> None:
    copies = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for old in copies[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
