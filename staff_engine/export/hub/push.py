"""An exported folder → a data set on the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from staff_engine.errors import PlanError, StaffError
from staff_engine.export.hub.folder import MANIFEST_FILE
from staff_engine.export.targets import files_of_export
from staff_engine.program import NAME

REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
"""ORG/NAME."""


def check_repository(name: str) -> None:
    """Raise PlanError if a name is not the name of a data set on the hub."""
    if not REPOSITORY.fullmatch(name) or ".." in name or "--" in name:
        raise PlanError(f"push is {name!r}; allowed: ORG/NAME, for example my-team/my-coreset")


def push_folder(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload the files of an export to a data set on the hub, which is created if it does not exist.

    Parameters
    ----------
    folder
        What `export_folder` wrote. Only the files in its manifest are uploaded.
    name
        ORG/NAME.
    private
        Whether a new data set is private; an existing one keeps its setting.

    Returns
    -------
    str
        The address of the data set.

    Raises
    ------
    PlanError
        If the name is not allowed.
    StaffError
        If the hub refuses it or cannot be reached.
    """
    from huggingface_hub import HfApi

    check_repository(name)
    files = sorted(files_of_export(folder / MANIFEST_FILE) - {Path(MANIFEST_FILE).name} | {MANIFEST_FILE})
    try:
        api = HfApi()
        address = api.create_repo(name, repo_type="dataset", private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=files,
            commit_message=f"Upload a coreset made with {NAME}",
        )
    except Exception as error:  # of the network, of the hub, of a missing login
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise StaffError(
            f"the folder {folder} cannot be uploaded to {name!r}: {reason}; log in with `hf auth login`, "
            "and check the name"
        ) from error
    return str(address)
