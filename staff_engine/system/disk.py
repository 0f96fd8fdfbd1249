"""A full disk: recognise it, say where, and keep a little room for saying so."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from staff_engine.errors import StaffError
from staff_engine.system.words import size_in_words

FULL = (errno.ENOSPC, errno.EDQUOT)
WORDS = ("No space left on device", "code: 28,", "Disk quota exceeded")
"""How libraries that raise errors of their own name the same."""

LITTLE = 2**20
"""Bytes: with less free space, any failure to write is taken for a full disk."""

RESERVE_FILE = ".reserve"
RESERVE = 2**17
"""Bytes that a working process sets aside, to write its last state on a full disk."""

SUFFIX = ".part"


def full_disk(error: BaseException, folder: Path) -> str | None:
    """The sentence about a full disk, if that is why something failed; else None.

    Parameters
    ----------
    error
        The failure. Its causes are looked at too.
    folder
        The folder that was written to. The folder for temporary files is looked at as well.
    """
    if isinstance(error, StaffError) and not isinstance(error.__cause__, OSError):
        return None
    full = next((each for each in (folder, Path(tempfile.gettempdir())) if _free(each) < LITTLE), None)
    if full is None and not any(map(_says_so, _causes(error))):
        return None
    where = full or folder
    return f"no space left in {where} ({size_in_words(_free(where))} free); free some space and try again"


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Hold a little space in a folder inside the block, and give it back when the block fails or ends."""
    path = folder / RESERVE_FILE
    try:
        path.write_bytes(bytes(RESERVE))
        yield
    finally:
        path.unlink(missing_ok=True)


def clear_parts(folder: Path) -> None:
    """Remove the temporary files that a failed or killed process left in a folder and below it.

    Those of other processes that are alive are kept, and those in `exports`, which has a lock of its own.
    """
    for path in sorted(folder.rglob(f"*{SUFFIX}"), reverse=True):
        if "exports" in path.relative_to(folder).parts or _writer_is_alive(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _writer_is_alive(part: Path) -> bool:
    """Whether another process writes a temporary file; its name has the pid, as `files.replaced` makes it."""
    import psutil

    pid = part.name.removesuffix(SUFFIX).rpartition(".")[2]
    return pid.isdecimal() and int(pid) != os.getpid() and psutil.pid_exists(int(pid))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _says_so(error: BaseException) -> bool:
    return getattr(error, "errno", None) in FULL or any(words in str(error) for words in WORDS)


def _free(folder: Path) -> int:
    """Free bytes for this user."""
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(existing).free
