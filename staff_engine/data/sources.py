"""Data on this machine: find and describe files, uploads and built-in tasks."""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path

from staff_engine.data.builtin.tasks import is_task, task_of
from staff_engine.data.dataset import check_source, names_a_file
from staff_engine.data.files.compression import compression_of
from staff_engine.data.files.kinds import KINDS, SUFFIXES, is_data_file, suffix_of
from staff_engine.errors import DatasetError
from staff_engine.system.files import PRIVATE_FILE, private_folder, replaced
from staff_engine.system.home import home
from staff_engine.system.words import size_in_words

NEAR = 5
"""Maximum number of names that an error suggests."""


def find_file(text: str) -> Path:
    """The file of a path that a person typed: quotes around it are removed, `~` is the home folder.

    Raises
    ------
    DatasetError
        If it is not a readable file. The message suggests similar names in the same folder.
    """
    cleaned = text.strip().strip("\"'").removeprefix("file://")
    try:
        path = Path(cleaned).expanduser().absolute()
        if path.is_dir():
            names = [
                each.name
                for each in sorted(path.iterdir())
                if is_data_file(each) and not each.name.startswith(".")
            ]
            raise DatasetError(f"{cleaned!r} is a folder; {_proposed(names, 'data files in it:')}")
        if not path.is_file():
            beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
            near = difflib.get_close_matches(path.name, beside, n=NEAR)
            raise DatasetError(
                f"data file {cleaned!r} does not exist; {_proposed(near, 'similar names are')}"
            )
        check_source(str(path))
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise DatasetError(f"data file {cleaned!r} cannot be read: {error.strerror}") from None
    except (ValueError, RuntimeError) as error:  # a NUL in a path; an unknown home folder
        raise DatasetError(f"{cleaned!r} is not a valid path: {error}") from None
    return path


def check_file(source: str, split: str = "train") -> None:
    """Check that a file or a built-in task exists, without asking a hub. Raises DatasetError if not."""
    if is_task(source):
        check_source(source, split)
    else:
        find_file(source)


def in_words(source: str, unit: str) -> str:
    """The type and size of a file, as "JSON lines, compressed with gzip, 4.2 MB"; a task's licence."""
    if is_task(source):
        return f"Built in; licence: {task_of(source).license}"
    if is_on_hub(source):
        return "From the hub"
    path = Path(source)
    kind = KINDS[".jsonl" if unit == "line" else suffix_of(path)]
    compression = compression_of(path)
    packed = f", compressed with {compression.label}" if compression else ""
    return f"{kind.label}{packed}, {size_in_words(path.stat().st_size)}"


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
    """
    folder = home() / "uploads"
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


def upload_name(path: Path) -> str:
    """The original name of an upload."""
    return path.name.partition("-")[2]


def is_on_hub(source: str) -> bool:
    """Whether a data set's name is a hub name, without asking the hub."""
    return not (is_task(source) or Path(source).expanduser().exists() or names_a_file(source))


def _proposed(names: list[str], introduction: str) -> str:
    if not names:
        return f"give a data file ({' '.join(SUFFIXES)})"
    return f"{introduction} {', '.join(names[:NEAR])}{' and more' if len(names) > NEAR else ''}"
