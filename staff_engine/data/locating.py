"""Where a data set is: a file, several files, a saved folder, a built-in task, or the hub."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from staff_engine.data.builtin.tasks import TASKS, check_task, is_task
from staff_engine.data.files.addresses import files_at, is_address
from staff_engine.data.files.arrow_tables import is_saved, saved_files
from staff_engine.data.files.compression import COMPRESSED
from staff_engine.data.files.kinds import ALL_SUFFIXES, SUFFIXES, is_data_file, suffix_of
from staff_engine.errors import DatasetError
from staff_engine.system.hub import hub_answers, in_hub_cache
from staff_engine.system.sharing import check_place
from staff_engine.system.words import natural_key

SHARDS = ("", "data")
"""Where the data files of a folder are: in it, or in its folder `data`, as in a copy of a hub data set."""


def files_of(source: str, split: str = "train") -> list[Path]:
    """The data files of a source on this machine, in the order in which they are read.

    Parameters
    ----------
    source
        A file; a folder, or a pattern such as `data/part-*.jsonl`, for files of one type in
        natural order (2 before 10); a folder of `save_to_disk`; or an address such as
        `s3://bucket/train.jsonl`, whose files are copied to this machine.
    split
        The split of a folder of `save_to_disk`.

    Returns
    -------
    list of Path
        Empty if the source is not on this machine: a built-in task or a hub name.

    Raises
    ------
    DatasetError
        If a folder or a pattern has no data files, or files of several types.
    PlanError
        On a shared server, for other files than uploads.
    """
    if is_task(source):
        return []
    check_place(source)
    if is_address(source):
        return _of_one_type(files_at(source), source)  # in order: names of copies are others
    try:
        path = Path(source).expanduser()
        if path.is_file():
            return [path]
        if path.is_dir():
            return (
                saved_files(path, split)
                if is_saved(path)
                else _of_one_type(_in_order(_in_folder(path)), source)
            )
        if not glob.has_magic(source):
            return []
        matched = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    except (OSError, RuntimeError, ValueError) as error:  # too long, an unknown user, a NUL
        raise DatasetError(f"data set {source!r} is not a valid file name: {error}") from None
    return _of_one_type(_in_order(filter(Path.is_file, matched)), source)


def check_source(source: str, split: str = "train") -> None:
    """Check before any work that a data set exists: files, a built-in task, or a hub that can be reached.

    Raises
    ------
    DatasetError
        If it does not exist, or its file type or split is unknown. The message says what is allowed.
    """
    if is_task(source):
        check_task(source, split)
        return
    files = files_of(source, split)
    for path in files:
        suffix_of(path)
    if files:
        return
    if names_a_file(source):
        raise DatasetError(f"data file {source!r} does not exist")
    if not in_hub_data(source) and not hub_answers():
        raise DatasetError(
            f"data set {source!r} is not a file on this machine, and the hub cannot be reached; allowed: "
            f"a file ({' '.join(SUFFIXES)}), a hub name and {', '.join(f'builtin:{name}' for name in TASKS)}"
        )


@dataclass(frozen=True)
class HubData:
    """A data set on the hub, as written: NAME, NAME@REVISION, NAME:CONFIG or NAME@REVISION:CONFIG."""

    repository: str
    revision: str | None = None
    config: str | None = None

    @classmethod
    def parse(cls, source: str) -> HubData:
        """Read the name of a data set on the hub."""
        name, _, config = source.partition(":")
        repository, _, revision = name.partition("@")
        return cls(repository, revision or None, config or None)


def in_hub_data(source: str) -> bool:
    """Whether a data set on the hub was downloaded to this machine before."""
    hub = HubData.parse(source)
    return in_hub_cache(hub.repository, "README.md", "dataset", hub.revision)


def is_local(source: str) -> bool:
    """Whether a source is a file, a folder or a pattern on this machine, not a name or an address."""
    return not (is_task(source) or is_address(source)) and (
        names_a_file(source) or Path(source).expanduser().exists()
    )


def absolute_source(source: str) -> str:
    """The same source for a process with another working directory: files have absolute paths."""
    if not is_task(source):
        check_place(source)
    if is_task(source) or is_address(source):
        return source
    try:
        path = Path(source).expanduser()
        return str(path.resolve()) if path.exists() or glob.has_magic(source) else source
    except (OSError, RuntimeError, ValueError):
        return source


def names_a_file(source: str) -> bool:
    """Whether a missing source names a file. A hub name may contain a dot too: teknium/OpenHermes-2.5."""
    path, hub = Path(source).expanduser(), Path(HubData.parse(source).repository)
    if (
        glob.has_magic(source)
        or path.is_absolute()
        or source.startswith((".", "~"))
        or len(hub.parts) > 2
        or "\\" in source
        or path.suffix.lower() in (*ALL_SUFFIXES, *COMPRESSED)
    ):
        return True
    return hub.parent.is_dir() if len(hub.parts) == 2 else bool(hub.suffix)


def _in_folder(folder: Path) -> list[Path]:
    for name in SHARDS:
        inner = folder / name
        found = [path for path in inner.iterdir() if _is_shard(path)] if inner.is_dir() else []
        if found:
            return found
    return []


def _is_shard(path: Path) -> bool:
    return is_data_file(path) and path.is_file() and not path.name.startswith((".", "_"))


def _of_one_type(paths: list[Path], source: str) -> list[Path]:
    if not paths:
        raise DatasetError(f"{source!r} has no data files ({' '.join(SUFFIXES)})")
    kinds = sorted({suffix_of(path) for path in paths})
    if len(kinds) > 1:
        raise DatasetError(
            f"{source!r} has files of several types ({', '.join(kinds)}); "
            f"choose one type with a pattern, for example '{source.rstrip('/')}/*{kinds[0]}'"
        )
    return paths


def _in_order(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: natural_key(str(path)))
