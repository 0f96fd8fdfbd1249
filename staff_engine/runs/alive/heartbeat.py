"""The heartbeat of a run's process: how a process on another host is known to be alive.

A pid says nothing on another host. So a run's process overwrites the file `heartbeat` in the run's
folder every `BEAT_SECONDS`, from a thread of its own, also while it waits in the queue, imports
libraries or loads a model. The file has one line: the host, the pid, and the time of the beat.

A reader does not compare that time with its own: the clocks of hosts differ. Nor does it look at
the file's time, which a network file system can have from either clock, or from its cache. It reads
the line again until it changes. If it stays the same for `SILENCE_SECONDS` on the reader's own
monotonic clock, the process is gone. Then the reader removes the file, so that nobody has to wait
again. A process that was only suspended writes the file again, and is alive again.

The file is overwritten in place and always has the same length. So NFS clients, which check a file
again whenever it is opened, read the new content, and a full disk does not stop the heart.

The heartbeat also keeps two hosts from working on one run where locks do not hold between hosts.
A worker refuses a run whose heart beats on another host. A worker that finds another one's
heartbeat in its place stops and leaves the run to it: it was suspended and the run resumed
elsewhere, or both started at the same moment.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from staff_engine.errors import RunError
from staff_engine.system.files import PRIVATE_FILE, replaced
from staff_engine.system.hosts import name_of, this_host

HEARTBEAT_FILE = "heartbeat"

BEAT_SECONDS = 2.0
"""Time between two beats."""

SILENCE_SECONDS = 30.0
"""How long a heart has to be silent until its process counts as gone. The import of a library can stop all
threads for many seconds."""

LOOK_SECONDS = 0.2
"""Time between two looks of a reader that waits for a beat."""

NO_PID = 0
"""The pid in the heartbeat of a process that is being started."""

Sign = Literal["beats", "perhaps", "silent"]

log = logging.getLogger(__name__)


class TakenOver(RunError):
    """Another process works on the run now. This one must not write anything more in its folder."""


class Heart:
    """Writes the heartbeat of this process in a run's folder; a thread does it inside a `with` block.

    The block raises TakenOver if another process has written its heartbeat there. In the main thread, it
    is then ended by SIGTERM, for which a handler has to raise an exception.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / HEARTBEAT_FILE
        self._owner = _owner(os.getpid())
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._successor: str | None = None
        self._complained = False
        self._beat()

    def __enter__(self) -> Heart:
        in_main = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._go_on, args=(in_main,), name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        if self._successor is not None:
            successor = _words(self._successor)
            raise TakenOver(f"run {self._path.parent.name} was taken over by {successor}") from None

    def end(self) -> None:
        """Remove the heartbeat, unless another process has taken its place."""
        if _owner_in(_read(self._path)) == self._owner:
            self._path.unlink(missing_ok=True)

    def _go_on(self, in_main: bool) -> None:
        """Beat until the block ends, or until another process's heartbeat is found; then end the block."""
        while not self._stopped.wait(BEAT_SECONDS):
            found = _owner_in(_read(self._path))
            if found not in (None, self._owner):
                self._successor = found
                if in_main:
                    os.kill(os.getpid(), signal.SIGTERM)
                return
            self._beat()

    def _beat(self) -> None:
        try:
            _write(self._path, self._owner)
        except OSError as error:
            if not self._complained:
                log.warning("the heartbeat cannot be written: %s", error)
            self._complained = True


@contextmanager
def only_heart(folder: Path) -> Iterator[Heart]:
    """Take over the heartbeat of a run for this process, and remove it at the end of the block.

    Raises
    ------
    RunError
        If a worker on another host is alive. A silent one is waited for, `SILENCE_SECONDS` at most.
    """
    require_no_other_heart(folder)
    heart = Heart(folder)
    try:
        yield heart
    finally:
        heart.end()


def require_no_other_heart(folder: Path) -> None:
    """Raise RunError like `only_heart`, whatever status.json says: it can be out of date on another host."""
    owner = _owner_in(_read(folder / HEARTBEAT_FILE)) or ""
    host, _, pid = owner.partition(" ")
    if host not in ("", this_host()) and pid != str(NO_PID) and wait_for_sign(folder):
        raise RunError(f"{_words(owner)} already works on run {folder.name}")


def announce(folder: Path) -> None:
    """Write a first beat for a process that is about to be started, and will write its own."""
    _write(folder / HEARTBEAT_FILE, _owner(NO_PID))


@dataclass(frozen=True)
class _Look:
    """What this process read last of a heartbeat."""

    content: str
    since: float  # when this content was first read, on the monotonic clock
    at: float  # when it was last read
    changed: bool  # whether it had changed since a look not long before


_looks: dict[Path, _Look] = {}


def look(folder: Path) -> Sign:
    """Look for a sign of life of a run's process, without waiting.

    Returns
    -------
    Sign
        "beats" if the heartbeat has changed since an earlier look, and that was less than
        `SILENCE_SECONDS` ago; "silent" if there is none, or if it has been the same for longer; "perhaps"
        if it is too early to say.
    """
    path = folder / HEARTBEAT_FILE
    content = _read(path)
    if content is None:
        _looks.pop(folder, None)
        return "silent"
    moment, before = time.monotonic(), _looks.get(folder)
    if before is None or before.content != content:
        changed = before is not None and moment - before.at < SILENCE_SECONDS
        seen = _Look(content, moment, moment, changed)
    else:
        seen = _Look(content, before.since, moment, before.changed)
    _looks[folder] = seen
    if moment - seen.since < SILENCE_SECONDS:
        return "beats" if seen.changed else "perhaps"
    del _looks[folder]
    with suppress(OSError):  # in a folder that cannot be written, the next reader waits again
        path.unlink(missing_ok=True)
    return "silent"


def wait_for_sign(folder: Path) -> bool:
    """Wait until it is certain whether a run's process is alive; returns whether it is.

    This takes `BEAT_SECONDS` if it is alive, and at most `SILENCE_SECONDS` if it is not.
    """
    while (sign := look(folder)) == "perhaps":
        time.sleep(LOOK_SECONDS)
    return sign == "beats"


def _owner(pid: int) -> str:
    return f"{this_host()} {pid}"


def _words(owner: str) -> str:
    host, _, pid = owner.partition(" ")
    return f"process {pid} on {name_of(host)}"


def _owner_in(content: str | None) -> str | None:
    """Host and pid in a heartbeat; None if there is none, or it was being written."""
    return content.rpartition(" ")[0] or None if content else None


def _read(path: Path) -> str | None:
    """The content of a heartbeat; None if there is no file, "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def _write(path: Path, owner: str) -> None:
    line = f"{owner} {datetime.now(UTC).isoformat(timespec='microseconds')}\n".encode()
    try:
        opened = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        # Not O_CREAT: it does not create the file where a cache still has one that another host removed.
        with replaced(path, durable=False) as part:
            part.write_bytes(line)
            part.chmod(PRIVATE_FILE)
        return
    try:
        os.write(opened, line)
        os.ftruncate(opened, len(line))  # the line of an earlier process can be longer
    finally:
        os.close(opened)
