"""The name of the program, the command that users type, and the location of the app and its assets."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

NAME = "STAFF Studio"

SCRIPT = "staff-studio"
"""The command of the installed package, and the name of the package."""

MODULE = "python -m staff_engine"
"""The command in a checkout."""

_ENGINE = Path(__file__).resolve().parent


def app_folder() -> Path:
    """The folder that contains `app.py`, `pages`, `assets` and `.streamlit`.

    In a checkout this is the root. In an installed package it is `staff_engine/studio`.
    """
    installed = _ENGINE / "studio"
    return installed if installed.is_dir() else _ENGINE.parent


def asset(name: str) -> Path:
    """The path of a file or folder in `assets`, for example `asset("logo.svg")`."""
    return app_folder() / "assets" / name


def find_command() -> str:
    """The command that starts this copy of the program: `staff-studio`, or `python -m staff_engine`.

    It is `staff-studio` if the first `staff-studio` on PATH was installed for the current Python and
    runs this copy. A checkout and an installed package can exist on the same machine.
    """
    script = shutil.which(SCRIPT)
    if script is None:
        return MODULE
    folder = Path(script).resolve().parent
    for scheme in (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")):
        paths = sysconfig.get_paths(scheme)
        if Path(paths["scripts"]).resolve() == folder:
            package = Path(paths["purelib"]) / _ENGINE.name
            return SCRIPT if not package.exists() or package.samefile(_ENGINE) else MODULE
    return MODULE


COMMAND = find_command()
"""The command to use in texts that users copy."""
