"""Which files an export may write: none of a run's own, and none that somebody else made."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from staff_engine.data.files.addresses import is_address
from staff_engine.data.locating import files_of
from staff_engine.errors import DatasetError, PlanError, StaffError
from staff_engine.plan import Plan
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
    own = set().union(*map(files_of_export, manifests))
    for target in targets:
        if target.exists() and target.name not in own:
            raise StaffError(
                f"{target} exists and is not from an earlier export; choose another file, or use --overwrite"
            )


def refuse_shared_files(out: Path, files: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to change a file that belongs to the export of another name beside `out`, too.

    Parameters
    ----------
    files
        The new files as a manifest describes them: name and sha256.

    Raises
    ------
    StaffError
        With the file and the other export.
    """
    new = {file["name"]: file["sha256"] for file in files}
    for manifest in sorted(out.parent.glob(f"{glob.escape(out.stem)}.*.manifest.json")):
        other = manifest.name.removesuffix(".manifest.json")
        for file in _manifest(manifest).get("files", ()) if other != out.name else ():
            name = file["name"]
            if name in new and file["sha256"] != new[name] and out.with_name(name).exists():
                raise StaffError(
                    f"{out.with_name(name)} belongs to the export {other}, which is of another selection;"
                    " choose another file name, or use --overwrite"
                )


def source_files(plan: Plan) -> list[Path]:
    """The data files of a plan that are on this machine and still exist."""
    if is_address(plan.dataset):
        return []
    try:
        return [path for path in files_of(plan.dataset, plan.split) if path.exists()]
    except (DatasetError, PlanError):  # they have been moved, or this server does not read them
        return []


def warnings_of(out: Path) -> list[str]:
    """The warnings in the manifest of an exported file; empty if this program wrote no manifest for it."""
    content = _manifest(out.with_name(f"{out.name}.manifest.json"))
    return list(content.get("warnings", ()))


def _is_run(folder: Path) -> bool:
    in_home = folder.parent == (home() / "runs").resolve()
    return in_home or all((folder / name).is_file() for name in (PLAN_FILE, STATUS_FILE))


def files_of_export(manifest: Path) -> set[str]:
    """The names of an export's files, by its manifest; none if it is not a manifest of ours."""
    try:
        return {manifest.name, *(file["name"] for file in _manifest(manifest)["files"])}
    except (KeyError, TypeError):
        return set()


def _manifest(path: Path) -> dict[str, Any]:
    """The content of a manifest; empty if it is not one of ours."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("program") == NAME else {}
