"""Data on this machine: find and describe files, uploads and built-in tasks."""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path

from staff_engine.data.builtin.tasks import is_task, task_of
from staff_engine.data.files.addresses import is_address
from staff_engine.data.files.compression import compression_of
from staff_engine.data.files.kinds import KINDS, SUFFIXES, suffix_of
from staff_engine.data.locating import HubData, check_source, files_of, names_a_file
from staff_engine.errors import DatasetError
from staff_engine.system.files import PRIVATE_FILE, private_folder, replaced
from staff_engine.system.home import home
from staff_engine.system.hub import at_commit, with_short_commits
from staff_engine.system.sharing import UPLOADS, check_disk
from staff_engine.system.words import size_in_words

HUB_ADDRESS = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?(/.*)?")

_UPLOAD = re.compile(r"[0-9a-f]{12}-.+")
"""Names of uploads: the beginning of the content's sha256, then the file's own name."""

NEAR = 5
"""Maximum number of names that an error suggests."""


def find_file(text: str, split: str = "train") -> Path:
    """The file, folder or pattern that a person typed: quotes around it are removed, `~` is the home folder.

    Raises
    ------
    DatasetError
        If it is not a readable file, or a folder or pattern without data files of one type. The
        message suggests similar names in the same folder.
    """
    cleaned = _cleaned(text)
    try:
        path = Path(cleaned).expanduser().absolute()
        files = files_of(str(path), split)
        if not files:
            beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
            near = difflib.get_close_matches(path.name, beside, n=NEAR)
            raise DatasetError(
                f"data file {cleaned!r} does not exist; {_proposed(near, 'similar names are')}"
            )
        check_source(str(path), split)
        for file in files:
            with file.open("rb") as opened:
                opened.read(1)
    except OSError as error:
        raise DatasetError(f"data file {cleaned!r} cannot be read: {error.strerror}") from None
    except (ValueError, RuntimeError) as error:  # a NUL in a path; an unknown home folder
        raise DatasetError(f"{cleaned!r} is not a valid path: {error}") from None
    return path


def find_source(text: str, split: str = "train") -> str:
    """The data set that a person typed: a file as in `find_file`, or an address. Raises DatasetError."""
    cleaned = _cleaned(text)
    if not is_address(cleaned):
        return str(find_file(cleaned, split))
    check_source(cleaned, split)
    return cleaned


def _cleaned(text: str) -> str:
    return text.strip().strip("\"'").removeprefix("file://")


def check_file(source: str, split: str = "train") -> None:
    """Check that files or a built-in task exist, without asking a hub. Raises DatasetError if not."""
    if is_task(source):
        check_source(source, split)
    else:
        find_source(source, split)


def in_words(source: str, unit: str, split: str = "train") -> str:
    """The type and size of a file, as "JSON lines, compressed with gzip, 4.2 MB"; a task's licence."""
    if is_task(source):
        return f"Built in; licence: {task_of(source).license}"
    if is_on_hub(source):
        return "From the hub"
    files = files_of(source, split)
    kind = KINDS[".jsonl" if unit == "line" else suffix_of(files[0])]
    compression = compression_of(files[0])
    packed = f", compressed with {compression.label}" if compression else ""
    several = f"{len(files)} files: " if len(files) > 1 else ""
    return f"{several}{kind.label}{packed}, {size_in_words(sum(path.stat().st_size for path in files))}"


def keep_upload(name: str, content: bytes) -> Path:
    """Save an uploaded file in `<home>/uploads`, so that a run can read it. Equal content is saved once.

    Parameters
    ----------
    name
        The name from the browser; only its letters, digits, dots and dashes are kept.

    Raises
    ------
    DatasetError
        If it cannot be written.
    StaffError
        If the user's files are too many.
    """
    check_disk(len(content))
    folder = home() / UPLOADS
    safe = re.sub(r"[^\w.-]+", "-", Path(name).name).lstrip(".-")[-80:] or "upload"
    path = folder / f"{hashlib.sha256(content).hexdigest()[:12]}-{safe}"
    try:
        private_folder(folder)
        if not path.exists():
            with replaced(path) as part:
                part.write_bytes(content)
                part.chmod(PRIVATE_FILE)
    except OSError as error:
        raise DatasetError(f"the upload {name!r} cannot be saved: {error.strerror}") from error
    return path


def is_upload(source: str) -> bool:
    """Whether a data set is a file that `keep_upload` saved, here or in another home."""
    path = Path(source)
    return path.parent.name == UPLOADS and _UPLOAD.fullmatch(path.name) is not None


def shown_source(source: str) -> str:
    """The name of a data set for people: an upload has its own name, and a commit seven characters.

    >>> shown_source("/home/ann/uploads/0123456789ab-train.csv"), shown_source("builtin:chat")
    ('train.csv', 'builtin:chat')
    """
    if is_upload(source):
        return Path(source).name.partition("-")[2]
    return with_short_commits(source)


def shown_file(path: str) -> str:
    """The name of a file for people, without its folder."""
    return Path(shown_source(path)).name


def is_on_hub(source: str) -> bool:
    """Whether a data set's name is a hub name, without asking the hub."""
    if is_task(source) or is_address(source) or names_a_file(source):
        return False
    return not Path(source).expanduser().exists()


def pinned_source(source: str) -> str:
    """The same source at the commit that its name on the hub means now; see `hub.at_commit`.

    Sources of this machine and addresses other than hf://datasets/ stay as they are.
    """
    address = HUB_ADDRESS.fullmatch(source)
    if address:
        repository, revision, path = address.groups()
        pinned = at_commit(repository, revision, file="README.md", kind="dataset")
        return f"hf://datasets/{pinned}{path or ''}"
    if not is_on_hub(source):
        return source
    hub = HubData.parse(source)
    pinned = at_commit(hub.repository, hub.revision, file="README.md", kind="dataset")
    return f"{pinned}:{hub.config}" if hub.config else pinned


def _proposed(names: list[str], introduction: str) -> str:
    if not names:
        return f"give a data file ({' '.join(SUFFIXES)})"
    return f"{introduction} {', '.join(names[:NEAR])}{' and more' if len(names) > NEAR else ''}"
