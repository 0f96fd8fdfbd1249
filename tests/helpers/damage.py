"""The ways in which a file of a run can be damaged."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from staff_engine.runs.integrity.records import forget
from staff_engine.system.files import read_checked, write_checked


def empty(path: Path) -> None:
    """Nothing is left of it."""
    path.write_bytes(b"")


def halve(path: Path) -> None:
    """Its second half is lost."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path, place: float = 0.5) -> None:
    """One bit in it is another."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(bytes(content))


def remove(path: Path) -> None:
    """It is gone."""
    path.unlink()


def replace(path: Path) -> None:
    """It is another text."""
    path.write_text("Sehr geehrte Damen und Herren,\n", encoding="utf-8")


WAYS = {way.__name__: way for way in (empty, halve, flip, remove, replace)}


@contextmanager
def damaged(path: Path, way: str):
    """The file is damaged inside the block, and as before after it."""
    before, times = path.read_bytes(), path.stat()
    WAYS[way](path)
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def without(folder: Path, name: str) -> None:
    """Make a run as if it had never written a part, and verified nothing if that is the part."""
    shutil.rmtree(folder / name)
    forget(folder, name)
    if name == "verification":
        content = read_checked(folder / "summary.json")
        write_checked(folder / "summary.json", {**content, "verified": 0})
