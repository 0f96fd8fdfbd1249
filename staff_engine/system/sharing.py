"""A server for several people: what they may name, and how much of it each of them may use."""

from __future__ import annotations

import os
import re
from pathlib import Path

from staff_engine.errors import PlanError, StaffError
from staff_engine.system.home import home
from staff_engine.system.words import size_in_words

VARIABLE = "STAFF_SHARED"
"""Environment variable: 1 for a server that several people use."""

DISK_VARIABLE = "STAFF_QUOTA_MB"
"""Environment variable: megabytes that a home may hold; no limit if it is not set."""

RUNS_VARIABLE = "STAFF_QUOTA_RUNS"
"""Environment variable: how many runs of a home may wait and work at once; no limit if it is not set."""

UPLOADS = "uploads"
"""The folder of a home with the files that its user uploaded."""

BUILTIN = "builtin:"
LONGEST_NAME = 200
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@\w[\w./-]*)?(:[\w.-]+)?", re.ASCII)


def is_shared() -> bool:
    """Whether several people use this server. Raises PlanError if `STAFF_SHARED` is neither 0 nor 1."""
    text = os.environ.get(VARIABLE, "")
    if text not in ("", "0", "1"):
        raise PlanError(f"{VARIABLE} is {text!r}; allowed: 0 and 1")
    return text == "1"


def check_place(name: str) -> None:
    """Refuse what only the owner of a machine may name: on a shared server, paths and addresses.

    Allowed there are the user's uploads, hub names and names of built-in data and models. Of a model with an
    adapter, BASE+ADAPTER, both are checked.

    Raises
    ------
    PlanError
        With the name, and what is allowed.
    """
    if is_shared() and not _is_upload(name) and not all(map(_is_name, name.split("+", 1))):
        raise PlanError(
            f"{name!r} is a path or an address, which this shared server does not read; allowed: uploads, hub"
            " names and built-in ones"
        )


def refuse_paths() -> None:
    """Refuse to write to a path that a user gives. Raises PlanError on a shared server."""
    if is_shared():
        raise PlanError("this shared server writes no files to paths; download them instead")


def check_own_runs(*folders: str) -> None:
    """Refuse folders that are not in the user's runs folder. Raises PlanError, on a shared server."""
    for folder in folders:
        if is_shared() and Path(folder).resolve().parent != (home() / "runs").resolve():
            raise PlanError(f"{folder!r} is not one of your runs, and this shared server reads no others")


def _is_name(name: str) -> bool:
    if name.startswith(BUILTIN):
        return True
    if len(name) > LONGEST_NAME or not _HUB_NAME.fullmatch(name) or ".." in name:
        return False
    return not Path(name).exists() and not Path(name.partition(":")[0].partition("@")[0]).exists()


def _is_upload(name: str) -> bool:
    try:
        return Path(name).resolve().parent == (home() / UPLOADS).resolve()
    except (OSError, ValueError):
        return False


def check_disk(more: int = 0) -> None:
    """Refuse to write more to a home that is full.

    Parameters
    ----------
    more
        Bytes that are about to be written, if they are known.

    Raises
    ------
    StaffError
        If the home holds more than `STAFF_QUOTA_MB` then.
    """
    most = _limit(DISK_VARIABLE)
    if most is None:
        return
    used = sum(path.stat().st_size for path in home().rglob("*") if path.is_file() and not path.is_symlink())
    if used + more > most * 1_000_000:
        wanted = f", and {size_in_words(more)} more are needed" if more else ""
        raise StaffError(
            f"your files take {size_in_words(used)}{wanted}; allowed: {size_in_words(most * 1_000_000)};"
            " delete runs that you do not need"
        )


def check_active(active: int) -> None:
    """Refuse another run if this many wait or work. Raises StaffError beyond `STAFF_QUOTA_RUNS`."""
    most = _limit(RUNS_VARIABLE)
    if most is not None and active >= most:
        raise StaffError(f"{active:,} of your runs wait or work; allowed: {most:,} at once")


def _limit(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise PlanError(f"{variable} is {text!r}; allowed: a whole number from 1")
    return int(text)
