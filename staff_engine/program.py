"""What the program is called, the command that people type, and where its app and assets are."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

NAME = "STAFF Studio"

SCRIPT = "staff-studio"
"""The command that an installed package brings; also the name of the package."""

MODULE = "python -m staff_engine"
"""The command of a checkout."""

_ENGINE = Path(__file__).resolve().parent


def app_folder() -> Path:
    """The folder that has `app.py`, `pages`, `assets` and `.streamlit`.

    In a checkout this is its root; the build of the package places them in `staff_engine/studio`.
    """
    installed = _ENGINE / "studio"
    return installed if installed.is_dir() else _ENGINE.parent


def asset(name: str) -> Path:
    """The path of a file or folder in `assets`, for example `asset("logo.svg")`."""
    return app_folder() / "assets" / name


def find_command() -> str:
    """The command that starts this copy of the program: `staff-studio`, or `python -m staff_engine`.

    It is `staff-studio` if the first one on PATH was installed for the Python that runs now, and
    runs this copy: a checkout may stand beside an installed package.
    """
    found = shutil.which(SCRIPT)
    if found is None:
        return MODULE
    folder = Path(found).resolve().parent
    for scheme in (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")):
        paths = sysconfig.get_paths(scheme)
        if Path(paths["scripts"]).resolve() == folder:
            package = Path(paths["purelib"]) / _ENGINE.name
            return SCRIPT if not package.exists() or package.samefile(_ENGINE) else MODULE
    return MODULE


COMMAND = find_command()
"""The command in texts that people copy."""
