"""Which files an export may write: none of a run's own, and none that somebody else made."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from staff_engine.errors import StaffError
from staff_engine.program import NAME
from staff_engine.runs.folders import PLAN_FILE
from staff_engine.runs.status import STATUS_FILE
from staff_engine.system.home import home

EXPORTS_FOLDER = "exports"
"""The folder of a run that exports may be written to."""


def refuse_run_files(targets: Iterable[Path]) -> None:
    """Refuse files inside a run's folder, other than in its `exports` folder.

    Raises
    ------
    StaffError
        With the file and the run's folder.
    """
    for target in targets:
        inside = target.expanduser().resolve()
        run = next((folder for folder in inside.parents if _is_run(folder)), None)
        if run is not None and inside.relative_to(run).parts[0] != EXPORTS_FOLDER:
            raise StaffError(f"{target} is inside the run folder {run}; choose a file outside of it")


def refuse_foreign_files(targets: Sequence[Path]) -> None:
    """Refuse files that exist and are not from an earlier export.

    Parameters
    ----------
    targets
        The files to be written, all in one folder; the first is the one with the rows. What a manifest
        beside it lists is an earlier export's own. Exports of one name and several suffixes share the
        decisions.

    Raises
    ------
    StaffError
        With the file.
    """
    rows = targets[0]
    manifests = rows.parent.glob(f"{glob.escape(rows.stem)}.*.manifest.json")
    own = set().union(*map(_files_of, manifests))
    for target in targets:
        if target.exists() and target.name not in own:
            raise StaffError(
                f"{target} exists and is not from an earlier export; choose another file, or use --overwrite"
            )


def _is_run(folder: Path) -> bool:
    in_home = folder.parent == (home() / "runs").resolve()
    return in_home or all((folder / name).is_file() for name in (PLAN_FILE, STATUS_FILE))


def _files_of(manifest: Path) -> set[str]:
    """The names of an export's files, by its manifest; none if it is not a manifest of ours."""
    try:
        content = json.loads(manifest.read_bytes())
        if content["program"] != NAME:
            return set()
        return {manifest.name, *(file["name"] for file in content["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
