"""Steps that all processes of a run do together: dealt, counted, waited for, stopped.

The leader does the steps of the run. At a step that can be divided it calls `shared`: the helpers then carry
out a function with the arguments that the leader gives, and wait for the next one (`follow`).
"""

from __future__ import annotations

import json
import logging
import pickle  # opens only what the leader has signed  # nosec B403
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from staff_engine.errors import RunError, StaffError
from staff_engine.system import team
from staff_engine.system.disk import full_disk
from staff_engine.system.home import home
from staff_engine.system.hosts import name_of, this_host
from staff_engine.system.memory import give_back
from staff_engine.system.signing import LATE_SECONDS, checked, leaders_key, own_key, signed
from staff_engine.system.team import Lost, Store, others_can_be_lost

POLL = 0.05
"""Seconds between two looks at the store."""

LOST_SECONDS = 60.0
"""A process that has given no sign of life for so long is lost."""

STOP_SECONDS = 30.0
"""How long the leader waits for the helpers to write their results after it stopped a step."""

END_SECONDS = 2.0
"""How long a process may take to end after its connections broke."""

NO_CALL = b"-"
SECOND = 10**9
"""Nanoseconds."""
LEADER = (0,)

log = logging.getLogger(__name__)


class Stopped(BaseException):
    """The leader stopped the step. Not an `Exception`, so that no library handles it as its own error."""


class HelperFailed(Exception):
    """A helper has failed, and the user can probably do nothing about it."""


def follow() -> None:
    """Carry out what the leader shares, until it leaves. For helpers.

    Raises
    ------
    Lost
        If the leader is gone.
    """
    store = team.current().store
    with others_can_be_lost():
        while True:
            place, watch = _place(), _Watch(LEADER)
            while not store.check([place]):
                watch.look()
                time.sleep(POLL)
            call = Call(team.current().calls, store)
            try:
                message = checked(leaders_key(), place, store.get(place))
                if message == NO_CALL:
                    return
                _carry_out(call, message)
            except Stopped:
                pass
            except Exception as error:
                _report_failure(error)
                raise
            give_back()  # a model of this step, before the next one is loaded
            call.leave()
            team.current().calls += 1


def _place() -> str:
    """The key in the store of the message of the next step."""
    return f"call/{team.current().calls}"


def _send(message: bytes) -> None:
    team.current().store.set(_place(), signed(own_key(), _place(), message))


def _carry_out(call: Call, message: bytes) -> None:
    work, arguments, files = pickle.loads(message)  # signed by the leader  # nosec B301
    _wait_for(files)
    work(call, *arguments)


def leave() -> None:
    """End the team, so that `follow` returns in the helpers. For the leader, whatever has happened."""
    joined = team.current()
    if joined.size == 1 or joined.rank:
        return
    try:
        _send(NO_CALL)
    except (RuntimeError, OSError):
        log.warning("the other processes cannot be reached to end the run")
    team.end()


class Call:
    """One step that all processes of a team do together."""

    def __init__(self, number: int, store: Store) -> None:
        self._store, self._name = store, f"call/{number}"
        self._seen = 0
        self._watch = _Watch(LEADER if team.rank() else ())

    def deal(self, count: int) -> Iterator[int]:
        """The numbers 0 to count − 1 that fall to this process, in order. Each is given to one process only.

        A fast process gets more of them.
        """
        while (number := self._store.add(f"{self._name}/next", 1) - 1) < count:
            yield number

    def count(self, amount: int) -> None:
        """Tell the leader that this helper has done an amount of work. Raises Stopped, or Lost."""
        with others_can_be_lost():
            self._watch.look()
            self._store.add(f"{self._name}/done", amount)
            if self.stopped:
                raise Stopped

    def counted(self) -> int:
        """What the helpers have done since the last look. For the leader.

        Raises
        ------
        RunError, HelperFailed
            If a helper has failed, as `failure` returns it.
        """
        _raise_failure()
        total = self._store.add(f"{self._name}/done", 0)
        new, self._seen = total - self._seen, total
        return new

    def stop(self) -> None:
        """Make the helpers leave the step at their next batch."""
        self._store.set(f"{self._name}/stop", "1")

    @property
    def stopped(self) -> bool:
        """Whether the leader has stopped the step."""
        return self._store.check([f"{self._name}/stop"])

    def leave(self) -> None:
        """Tell the leader that this helper has written all its results."""
        self._store.add(f"{self._name}/left", 1)

    @property
    def alone(self) -> bool:
        """Whether all helpers have left the step."""
        return self._store.add(f"{self._name}/left", 0) == team.current().size - 1


@contextmanager
def shared(
    work: Callable[..., None],
    *arguments: Any,
    on_progress: Callable[[int], None],
    files: Iterable[Path | None] = (),
    collective: bool = False,
) -> Iterator[Call]:
    """Do a step in all processes; the block is the leader's part of it.

    At the end of the block the leader waits until all helpers have left the step. An exception in the block
    stops the helpers.

    Parameters
    ----------
    work
        A function of a module, for the helpers. Its first argument is the `Call`, then come `arguments`,
        which must be picklable.
    on_progress
        Called with the amount of work that the helpers have done, while the leader waits for them. It may
        raise.
    files
        What the helpers read; None is ignored. On a file system of several machines, they wait until
        they see these files as the leader does.
    collective
        Whether the processes exchange values inside the step. A helper then cannot leave it by itself.

    Raises
    ------
    RunError, HelperFailed
        As `Call.counted`.
    Lost
        If another process is gone, or if a helper has given no sign of life for `LOST_SECONDS`.
    """
    call = Call(team.current().calls, team.current().store)
    with others_can_be_lost():
        if team.current().size > 1:
            marks = [(path, _mark(path)) for path in files if path is not None]
            _send(pickle.dumps((work, arguments, marks)))
        team.current().calls += 1
        try:
            yield call
            _wait(call, on_progress)
        except BaseException as error:
            if team.current().size > 1:
                if collective:
                    _raise_cause(error)
                else:
                    _stop(call)
            raise


def _wait(call: Call, on_progress: Callable[[int], None]) -> None:
    watch = _Watch(range(1, team.current().size))
    while not call.alone:
        on_progress(call.counted())
        watch.look()
        time.sleep(POLL)
    if new := call.counted():
        on_progress(new)


def _raise_cause(error: BaseException) -> None:
    """Raise why a helper has left a collective operation, if an error can be from that."""
    deadline = time.monotonic() + END_SECONDS
    while isinstance(error, RuntimeError | Lost) and time.monotonic() < deadline:
        _raise_failure()
        if ended := team.gone():
            raise Lost(ended) from error
        time.sleep(POLL)


def _stop(call: Call) -> None:
    """Stop the helpers, and wait until they have written their results; not for those that are gone."""
    try:
        call.stop()
        deadline = time.monotonic() + STOP_SECONDS
        while not call.alone and time.monotonic() < deadline and team.gone() is None:
            _raise_failure()
            time.sleep(POLL)
    except (RuntimeError, StaffError, HelperFailed) as error:
        log.warning("the other processes could not be stopped: %s", error)


class _Watch:
    """Notices processes that give no sign of life."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._known = dict.fromkeys(numbers, (-1, time.monotonic()))

    def look(self) -> None:
        moment = time.monotonic()
        for number, (beats, since) in self._known.items():
            now = team.current().store.add(f"beat/{number}", 0)
            if now != beats:
                self._known[number] = now, moment
            elif moment - since > LOST_SECONDS:
                raise Lost(f"{team.name_of_member(number)} has not answered for {LOST_SECONDS:g} s")


def _mark(path: Path) -> tuple[int, int] | None:
    """What tells one version of a file from another: its size and time, ns; None if it does not exist."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


def _same(one: tuple[int, int] | None, other: tuple[int, int] | None) -> bool:
    """Whether two marks are of one version. A network file system can round times to seconds."""
    if one is None or other is None or one == other:
        return one == other
    (seconds, rest), (other_seconds, other_rest) = divmod(one[1], SECOND), divmod(other[1], SECOND)
    return one[0] == other[0] and seconds == other_seconds and 0 in (rest, other_rest)


def _wait_for(files: list[tuple[Path, tuple[int, int] | None]]) -> None:
    """Wait until this process sees files as the leader does: a network file system shows changes late."""
    deadline = time.monotonic() + LATE_SECONDS
    for path, mark in files:
        while not _same(_mark(path), mark):
            if time.monotonic() > deadline:
                raise RunError(
                    f"{path} is not the same on {name_of(this_host())} as on the machine of the first"
                    " process; all processes need the same STAFF_HOME"
                )
            time.sleep(POLL)


def _report_failure(error: Exception) -> None:
    line = " ".join(str(error).split())
    full = full_disk(error, home())
    known = isinstance(error, StaffError) or full is not None
    reason = full or (line if known else f"{type(error).__name__}: {line}"[:500])
    text = f"{team.name_of_member(team.rank())} failed: {reason}"
    team.current().store.set("failure", json.dumps({"text": text, "known": known}))


def failure() -> RunError | HelperFailed | None:
    """Why a helper has failed: a RunError if the user can do something about it. None if none has."""
    store = team.current().store
    try:
        if not store.check(["failure"]):
            return None
        found = json.loads(store.get("failure"))
    except RuntimeError:  # the store is gone, and with it the answer
        return None
    return RunError(found["text"]) if found["known"] else HelperFailed(found["text"])


def _raise_failure() -> None:
    failed = failure()
    if failed is not None:
        raise failed
