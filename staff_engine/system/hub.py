"""The hub: whether it can be reached, and which commit a name means.

Its own client tries to reach it for most of a minute.
"""

from __future__ import annotations

import re
from pathlib import Path

TIMEOUT_SECONDS = 5.0


COMMIT = re.compile("[0-9a-f]{40}")


def with_short_commits(name: str) -> str:
    """A name for display: commits in it have seven characters."""
    return re.sub(f"@({COMMIT.pattern})", lambda found: found[0][:8], name)


def in_hub_cache(
    name: str, file: str = "config.json", kind: str = "model", revision: str | None = None
) -> bool:
    """Whether a repository's file was downloaded before; `kind` is model or dataset."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, file, revision=revision, repo_type=kind), str)
    except HFValidationError:
        return False


def at_commit(
    name: str, revision: str | None = None, *, file: str = "config.json", kind: str = "model"
) -> str:
    """The name of a repository with the commit that a revision of it is now: NAME@COMMIT.

    Without the hub, it is the commit of the copy on this machine.

    Parameters
    ----------
    revision
        A commit, branch or tag; None for the default branch.
    file
        A file of the repository. It is downloaded if it is not on this machine.
    kind
        model or dataset.

    Returns
    -------
    str
        The name and the revision as they are, if the commit cannot be found out. Loading the
        repository then says why.
    """
    commit = revision if COMMIT.fullmatch(revision or "") else _commit(name, revision, file, kind)
    commit = commit or revision
    return f"{name}@{commit}" if commit else name


def _commit(name: str, revision: str | None, file: str, kind: str) -> str | None:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.file_download import repo_folder_name

    try:
        path = hf_hub_download(
            name, file, revision=revision, repo_type=kind, local_files_only=not hub_answers()
        )
        return Path(path).parent.name
    except EntryNotFoundError:
        pass  # there is no such file, but the commit was noted when it was looked for
    except (OSError, ValueError):  # no such repository, no access, no valid name
        return None
    known = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type=kind) / "refs"
    reference = known / (revision or constants.DEFAULT_REVISION)
    return reference.read_text(encoding="utf-8").strip() if reference.is_file() else None


def hub_answers() -> bool:
    """Whether the hub may be used and responds within `TIMEOUT_SECONDS`."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.is_offline_mode():
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_SECONDS)
    except Exception:  # the exceptions depend on the client that the hub's library uses
        return False
    return True
