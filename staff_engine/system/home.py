"""The folder for all data of a user, `STAFF_HOME`; on a server for several people, one for each of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

VARIABLE = "STAFF_HOME"
COMMON_VARIABLE = "STAFF_COMMON_HOME"
"""Environment variable of a run's process: the home of the server, if `STAFF_HOME` is a user's."""

USERS = "users"
"""The folder in a server's home that contains a home for each user."""

_inside: ContextVar[Path | None] = ContextVar("home", default=None)
_choosers: list[Callable[[], Path | None]] = []


def home() -> Path:
    """The folder for all data of the user: the one of `in_home`, else of `choose_home_by`, else `STAFF_HOME`.

    If that is not set, the user's data folder.
    """
    inside = _inside.get()
    if inside is not None:
        return inside
    for choose in _choosers:
        chosen = choose()
        if chosen is not None:
            return chosen
    return _of_process(VARIABLE)


def common_home() -> Path:
    """The folder that all users of this server share: their homes, and the locks of working runs."""
    return _of_process(COMMON_VARIABLE if os.environ.get(COMMON_VARIABLE) else VARIABLE)


def user_home(name: str) -> Path:
    """The home of one of several users."""
    return common_home() / USERS / name


def homes() -> list[Path]:
    """The homes of all users of this server, and the server's own."""
    common = common_home()
    users = common / USERS
    return [common, *(sorted(path for path in users.iterdir() if path.is_dir()) if users.is_dir() else [])]


@contextmanager
def in_home(folder: Path) -> Iterator[None]:
    """Use a home inside the block, in this thread."""
    before = _inside.set(folder)
    try:
        yield
    finally:
        _inside.reset(before)


def choose_home_by(choose: Callable[[], Path | None]) -> None:
    """Ask this function for the home of the current user; it returns None if it does not know one."""
    _choosers[:] = [choose]


def _of_process(variable: str) -> Path:
    chosen = os.environ.get(variable)
    if chosen:
        return Path(chosen).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_data_dir("staff-studio", appauthor=False))
