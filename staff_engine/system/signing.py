"""Signed messages between the processes of a run: whoever reaches torchrun's port can write there.

The key is in a file of STAFF_HOME, which all processes of a run share and only their user can read.
"""

from __future__ import annotations

import hmac
import secrets
import time

from staff_engine.errors import RunError
from staff_engine.system.files import PRIVATE_FILE, private_folder
from staff_engine.system.home import home
from staff_engine.system.hosts import name_of, this_host

KEY_FILE = "processes.key"
KEY_BYTES = SIGNATURE_BYTES = 32
DIGEST = "sha256"

LATE_SECONDS = 90.0
"""How long a change of a file may take to be seen on another machine; NFS keeps attributes for up to 60 s."""

POLL = 0.05


def own_key() -> bytes:
    """The key of this STAFF_HOME, which is made at its first use. Raises OSError if it cannot be written."""
    path = private_folder(home()) / KEY_FILE
    try:
        path.touch(PRIVATE_FILE, exist_ok=False)
    except FileExistsError:
        return leaders_key()
    key = secrets.token_bytes(KEY_BYTES)
    try:
        path.write_bytes(key)
    except OSError:
        path.unlink()
        raise
    return key


def leaders_key() -> bytes:
    """The key that the leader has made, as soon as it is there: a network file system can show it late.

    Raises
    ------
    RunError
        If it is not there in time: the processes do not share their STAFF_HOME, or it is damaged.
    """
    path = home() / KEY_FILE
    deadline = time.monotonic() + LATE_SECONDS
    while len(key := path.read_bytes() if path.exists() else b"") != KEY_BYTES:
        if time.monotonic() > deadline:
            if path.exists():
                raise RunError(f"{path} has {len(key)} bytes, not {KEY_BYTES}; delete it, and run again")
            raise RunError(
                f"{path} is missing on {name_of(this_host())}; all processes need the same STAFF_HOME"
            )
        time.sleep(POLL)
    return key


def signed(key: bytes, place: str, content: bytes) -> bytes:
    """The content after its signature. It is valid only for this key and this place in the store."""
    return _signature(key, place, content) + content


def checked(key: bytes, place: str, message: bytes) -> bytes:
    """The content of a message that `signed` made.

    Raises
    ------
    RunError
        If it was not made with this key, or for another place.
    """
    signature, content = message[:SIGNATURE_BYTES], message[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(key, place, content)):
        raise RunError(
            f"the message {place!r} does not come from the first process of this run; all processes need the"
            " same STAFF_HOME"
        )
    return content


def _signature(key: bytes, place: str, content: bytes) -> bytes:
    return hmac.digest(key, place.encode() + b"\0" + content, DIGEST)
