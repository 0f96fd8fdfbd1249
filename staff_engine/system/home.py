"""The folder for all data of the program: `STAFF_HOME`."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder for all data of the program: `STAFF_HOME`, else the user's data folder."""
    chosen = os.environ.get("STAFF_HOME")
    if chosen:
        return Path(chosen).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_data_dir("staff-studio", appauthor=False))
