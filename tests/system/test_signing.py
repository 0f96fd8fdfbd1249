"""The key by which the processes of a run know each other's messages."""

import errno
import threading
from pathlib import Path

import pytest

from staff_engine.errors import RunError
from staff_engine.system import signing
from staff_engine.system.home import home, in_home


def test_a_home_has_one_key_that_only_its_user_can_read(tmp_path):
    with in_home(tmp_path / "new"):
        key = signing.own_key()
        assert signing.own_key() == signing.leaders_key() == key and len(key) == signing.KEY_BYTES
        files = list(home().iterdir())
        assert [(path.name, path.stat().st_mode & 0o777) for path in files] == [(signing.KEY_FILE, 0o600)]
    with in_home(tmp_path / "other"):
        assert signing.own_key() != key


def test_processes_that_start_at_the_same_time_use_the_same_key(tmp_path):
    keys, ready = [], threading.Barrier(8)

    def read():
        with in_home(tmp_path):
            ready.wait()
            keys.append(signing.own_key())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8 and len(set(keys)) == 1


def test_a_helper_waits_for_the_key_of_the_leader(tmp_path, monkeypatch):
    made = []

    def make():
        with in_home(tmp_path):
            made.append(signing.own_key())

    threading.Timer(0.1, make).start()
    with in_home(tmp_path):
        assert signing.leaders_key() == made[0]
        (tmp_path / signing.KEY_FILE).unlink()
        monkeypatch.setattr(signing, "LATE_SECONDS", 0.01)
        with pytest.raises(RunError, match=r"processes.key is missing on .* need the same STAFF_HOME"):
            signing.leaders_key()


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_damaged_key_is_not_used(tmp_path, monkeypatch, content):
    monkeypatch.setattr(signing, "LATE_SECONDS", 0.01)
    (tmp_path / signing.KEY_FILE).write_bytes(content)
    with in_home(tmp_path), pytest.raises(RunError, match=f"has {len(content)} bytes, not 32; delete it"):
        signing.own_key()


def test_a_key_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with in_home(tmp_path), pytest.raises(OSError, match="No space left"):
        signing.own_key()
    assert list(tmp_path.iterdir()) == []


def test_a_signature_is_valid_only_for_its_key_its_place_and_its_content():
    message = signing.signed(b"k" * 32, "call/0", b"content")
    assert signing.checked(b"k" * 32, "call/0", message) == b"content"
    changed = message[:-1] + b"T"
    for key, place, sent in (
        (b"l" * 32, "call/0", message),
        (b"k" * 32, "call/1", message),
        (b"k" * 32, "call/0", changed),
        (b"k" * 32, "call/0", b""),
    ):
        with pytest.raises(RunError, match=f"{place!r} does not come from the first process"):
            signing.checked(key, place, sent)
