"""The identity of the host that a process works on."""

from __future__ import annotations

import hashlib
import re
import socket
from functools import lru_cache
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")

OWN_PIDS = 4026531836
"""The pid namespace of every Linux kernel's first process; another number is a container's."""

DIGITS = 8


@lru_cache(maxsize=1)
def this_host() -> str:
    """The identity of this host: "name/machine/boot/pids".

    Two processes with the same identity see the same pids. The name alone is not enough: two
    containers can have the same one. The other parts are short hashes, or empty where the system
    does not say (outside Linux, only the name remains):

    - *machine*: the installation of the operating system (`/etc/machine-id`). It stays the same after
      a reboot. Empty in a container, where it often comes with the image.
    - *boot*: this start of the kernel (its boot id).
    - *pids*: the pid namespace, which each container has of its own.
    """
    try:
        namespace = PID_NAMESPACE.stat().st_ino
    except OSError:
        return f"{_name()}///"
    machine = _hash_of(MACHINE_ID) if namespace == OWN_PIDS else ""
    return f"{_name()}/{machine}/{_hash_of(BOOT_ID)}/{namespace}"


def name_of(host: str) -> str:
    """The name in a host's identity, for people."""
    return host.partition("/")[0]


def has_restarted(host: str) -> bool:
    """Whether an identity is that of this host before its last boot. Then its processes are gone."""
    (name, machine, boot, _), (own_name, own_machine, own_boot, _) = _parts(host), _parts(this_host())
    return bool(machine) and (name, machine) == (own_name, own_machine) and boot != own_boot


def _parts(host: str) -> list[str]:
    return [*host.split("/"), "", "", ""][:4]


def _name() -> str:
    return re.sub(r"[/\s]", "-", socket.gethostname()) or "localhost"


def _hash_of(path: Path) -> str:
    try:
        content = path.read_bytes().strip()
    except OSError:
        return ""
    return hashlib.sha256(content).hexdigest()[:DIGITS] if content else ""
