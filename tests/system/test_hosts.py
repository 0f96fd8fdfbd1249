"""The identity of a host: what it is made of, and what it says about old processes."""

import socket

import pytest

from staff_engine.system import hosts
from staff_engine.system.hosts import has_restarted, name_of, this_host


@pytest.fixture(autouse=True)
def _anew():
    this_host.cache_clear()
    yield
    this_host.cache_clear()


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """The files of a Linux host that is not a container; returns their folder."""
    for name in ("MACHINE_ID", "BOOT_ID", "PID_NAMESPACE"):
        monkeypatch.setattr(hosts, name, tmp_path / name)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(hosts, "OWN_PIDS", (tmp_path / "PID_NAMESPACE").stat().st_ino)
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-07")
    return tmp_path


def again():
    this_host.cache_clear()
    return this_host()


def test_every_part_makes_another_host(linux, monkeypatch):
    found = {this_host()}
    (linux / "MACHINE_ID").write_text("another installation")
    found.add(again())
    (linux / "BOOT_ID").write_text("another boot")
    found.add(again())
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-08")
    found.add(again())
    monkeypatch.setattr(hosts, "OWN_PIDS", -1)  # in a container
    found.add(again())
    assert len(found) == 5
    assert sorted(map(name_of, found)) == ["gpu-07"] * 3 + ["gpu-08"] * 2


def test_a_host_that_has_restarted_knows_its_own_old_processes(linux):
    before = this_host()
    assert not has_restarted(before)
    (linux / "BOOT_ID").write_text("another boot")
    again()
    assert has_restarted(before)
    assert not has_restarted(before.replace("gpu-07", "gpu-08"))
    (linux / "MACHINE_ID").write_text("another installation")
    again()
    assert not has_restarted(before), "it is another machine of the same name"


def test_in_a_container_another_boot_can_be_another_machine(linux, monkeypatch):
    monkeypatch.setattr(hosts, "OWN_PIDS", -1)
    before = again()
    (linux / "BOOT_ID").write_text("another boot")
    assert again() != before
    assert not has_restarted(before)


def test_without_proc_the_name_remains(monkeypatch, tmp_path):
    monkeypatch.setattr(hosts, "PID_NAMESPACE", tmp_path / "missing")
    monkeypatch.setattr(socket, "gethostname", lambda: "ada's mac/book")
    assert this_host() == "ada's-mac-book///"
    assert not has_restarted(this_host())
