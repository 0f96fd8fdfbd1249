"""Files that are whole or not there, also after the machine lost power."""

import errno
import os
from pathlib import Path

import pytest

from staff_engine.errors import RunError
from staff_engine.system.files import new_folder, read_model, rename_flushed, replaced, write_json


@pytest.fixture
def order(monkeypatch):
    """What is flushed, by inode, and what is renamed, in their order."""
    happened = []
    fsync, replace = os.fsync, os.replace

    def flushed(opened):
        happened.append(("flush", os.fstat(opened).st_ino))
        fsync(opened)

    def renamed(before, after):
        happened.append(("rename", Path(before).stat().st_ino))
        replace(before, after)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    return happened


def inode(path):
    return path.stat().st_ino


def test_a_file_is_flushed_then_renamed_then_its_folder_is_flushed(tmp_path, order):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": 2})
    assert order == [("flush", inode(path)), ("rename", inode(path)), ("flush", inode(tmp_path))]
    assert path.read_text() == '{\n "b": 1,\n "a": 2\n}\n'


def test_a_file_that_is_not_durable_is_only_renamed(tmp_path, order):
    path = tmp_path / "a.json"
    write_json(path, 1, durable=False)
    assert order == [("rename", inode(path))]


def test_every_file_of_a_new_folder_is_flushed_before_it_is_renamed(tmp_path, order):
    made = tmp_path / "made"
    with new_folder(made) as part:
        (part / "inner").mkdir()
        (part / "a").write_text("1")
        (part / "inner" / "b").write_text("2")
        (part / "link").symlink_to(tmp_path / "gone")
    places = [made / "a", made / "inner", made / "inner" / "b", made]
    assert sorted(order[: len(places)]) == sorted(("flush", inode(place)) for place in places)
    assert order[len(places) :] == [("rename", inode(made)), ("flush", inode(tmp_path))]


def test_a_folder_that_cannot_be_flushed_is_renamed_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "part").write_text("1")

    def fsync(opened):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    rename_flushed(tmp_path / "part", tmp_path / "whole")
    assert (tmp_path / "whole").read_text() == "1"


def test_a_disk_that_is_full_at_the_flush_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("before")

    def fsync(opened):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"), replaced(path) as part:
        part.write_text("after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_raises_leaves_nothing_behind(tmp_path):
    (tmp_path / "a").write_text("before")
    with pytest.raises(ZeroDivisionError), replaced(tmp_path / "a") as part:
        part.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "b") as part:
        (part / "c").write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_a_file_that_is_no_such_model_is_named_with_what_is_wrong(tmp_path):
    from staff_engine.runs.status import Status

    with pytest.raises(RunError, match=r"a\.json cannot be read: No such file"):
        read_model(tmp_path / "a.json", Status)
    (tmp_path / "a.json").write_text('{"state": "resting"}')
    with pytest.raises(RunError, match=r"a\.json is damaged: state: "):
        read_model(tmp_path / "a.json", Status)
