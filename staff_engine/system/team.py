"""The processes that work on a run together, as torchrun starts them. One process is a team of one.

The first process, the leader, does the steps of the run. At a step that can be divided it calls `shared`: the
other processes, the helpers, then carry out a function with the arguments that the leader gives, and wait for
the next one (`follow`). The processes exchange counts and messages through the key-value store of
torch.distributed, and gradients through its collective operations.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from staff_engine.errors import RunError, StaffError
from staff_engine.system.hosts import name_of, this_host
from staff_engine.system.processes import is_alive, start_time

if TYPE_CHECKING:
    import torch

RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
"""Variables that torchrun and `accelerate launch` set: number of the process and of all; on this machine."""

HIDDEN = (RANK, SIZE, LOCAL_RANK, LOCAL_SIZE, "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE")
"""Variables that are removed after joining: a Trainer would divide the work a second time."""

VISIBLE = "CUDA_VISIBLE_DEVICES"

POLL = 0.05
"""Seconds between two looks at the store."""

BEAT_SECONDS = 5.0
LOST_SECONDS = 60.0
"""A helper that has given no sign of life for so long is lost."""

STOP_SECONDS = 30.0
"""How long the leader waits for the helpers to write their results after it stopped a step."""

LATE_SECONDS = 90.0
"""How long a change of a file may take to be seen on another machine; NFS keeps attributes for up to 60 s."""

JOIN_MINUTES = 10
"""How long a process waits for the others at the start, and in a collective operation."""

NO_CALL = b"-"

log = logging.getLogger(__name__)


class Lost(Exception):
    """A process of the team is gone."""


class Stopped(BaseException):
    """The leader stopped the step. Not an `Exception`, so that no library handles it as its own error."""


class Store(Protocol):
    """What is used of torch.distributed.Store."""

    def set(self, key: str, value: str | bytes) -> None: ...
    def get(self, key: str) -> bytes: ...
    def add(self, key: str, amount: int) -> int: ...
    def check(self, keys: list[str]) -> bool: ...


class OwnStore:
    """The store of a team of one process."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def set(self, key: str, value: str | bytes) -> None:
        self._values[key] = value.encode() if isinstance(value, str) else value

    def get(self, key: str) -> bytes:
        return self._values[key]

    def add(self, key: str, amount: int) -> int:
        total = int(self._values.get(key, b"0")) + amount
        self.set(key, str(total))
        return total

    def check(self, keys: list[str]) -> bool:
        return all(key in self._values for key in keys)


@dataclass
class _Team:
    rank: int = 0
    size: int = 1
    store: Store = field(default_factory=OwnStore)
    calls: int = 0


_team = _Team()


def rank() -> int:
    """The number of this process in its team; 0 is the leader."""
    return _team.rank


def size() -> int:
    """The number of processes in the team."""
    return _team.size


def launched() -> bool:
    """Whether torchrun, or a launcher like it, has started this process as one of several."""
    return RANK in os.environ and int(os.environ.get(SIZE, "1")) > 1


def join() -> None:
    """Join the other processes that the same launcher started. Must be called before CUDA is used.

    Each process then sees only its own GPU, so everything else works as in a run of one process.

    Raises
    ------
    Lost
        If the others do not join in time.
    """
    rank, size = int(os.environ[RANK]), int(os.environ[SIZE])
    own_card = visible_gpus() >= int(os.environ.get(LOCAL_SIZE, size))  # NCCL refuses two processes on a GPU
    os.environ[VISIBLE] = own_gpu(os.environ.get(VISIBLE), int(os.environ.get(LOCAL_RANK, rank)))
    import torch
    from torch import distributed

    patience = timedelta(minutes=JOIN_MINUTES)
    backend = "cpu:gloo,cuda:nccl" if own_card and torch.cuda.is_available() else "gloo"
    with _others_can_be_lost():
        store, _, _ = next(distributed.rendezvous("env://", timeout=patience))
        distributed.init_process_group(
            backend,
            store=distributed.PrefixStore("torch", store),
            rank=rank,
            world_size=size,
            timeout=patience,
        )
    for name in HIDDEN:
        os.environ.pop(name, None)
    # It says that the team's processes do not train as a Trainer expects, which is so on purpose.
    logging.getLogger("transformers.training_args").setLevel(logging.ERROR)
    global _team
    _team = _Team(rank, size, distributed.PrefixStore("staff", store))
    pid = os.getpid()
    member = {"host": this_host(), "pid": pid, "started": start_time(pid)}
    _team.store.set(f"member/{rank}", json.dumps(member))
    if rank:
        beating = distributed.PrefixStore("staff", store.clone())
        threading.Thread(target=_beat, args=(beating, rank), name="beat", daemon=True).start()


def visible_gpus() -> int:
    """The number of NVIDIA GPUs that this process may use, found without CUDA."""
    if VISIBLE in os.environ:
        return len([card for card in os.environ[VISIBLE].split(",") if card not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def own_gpu(visible: str | None, number: int) -> str:
    """The value of CUDA_VISIBLE_DEVICES for a process, from that of its machine and its number there.

    >>> own_gpu("4,5", 1), own_gpu(None, 1), own_gpu("", 1)
    ('5', '1', '')
    """
    if visible is None:
        return str(number)
    cards = visible.split(",")
    return cards[number % len(cards)]


def leave() -> None:
    """End the team, so that the helpers' `follow` returns. For the leader, whatever has happened."""
    global _team
    if _team.size == 1 or _team.rank:
        return
    try:
        _team.store.set(f"call/{_team.calls}", NO_CALL)
    except RuntimeError:
        log.warning("the other processes cannot be reached to end the run")
    _team = _Team()


def follow() -> None:
    """Carry out what the leader shares, until it leaves. For helpers.

    Raises
    ------
    Lost
        If the leader is gone.
    """
    store = _team.store
    with _others_can_be_lost():
        while True:
            key = f"call/{_team.calls}"
            while not store.check([key]):
                time.sleep(POLL)
            message = store.get(key)
            if message == NO_CALL:
                return
            work, arguments, files = pickle.loads(message)  # from our own leader
            call = Call(_team.calls, store)
            try:
                _wait_for(files)
                work(call, *arguments)
            except Stopped:
                pass
            except Exception as error:
                _report_failure(error)
                raise
            call.leave()
            _team.calls += 1


class Call:
    """One step that all processes of a team do together."""

    def __init__(self, number: int, store: Store) -> None:
        self._store, self._name = store, f"call/{number}"
        self._seen = 0

    def deal(self, count: int) -> Iterator[int]:
        """The numbers 0 to count − 1 that fall to this process, in order. Each is given to one process only.

        A fast process gets more of them. Raises Stopped if the leader has stopped the step.
        """
        while (number := self._store.add(f"{self._name}/next", 1) - 1) < count:
            yield number

    def count(self, amount: int) -> None:
        """Tell the leader that this helper has done an amount of work. Raises Stopped."""
        self._store.add(f"{self._name}/done", amount)
        if self.stopped:
            raise Stopped

    def counted(self) -> int:
        """What the helpers have done since the last look. For the leader.

        Raises
        ------
        RunError
            If a helper has failed for a reason that the user can do something about.
        Lost
            If a helper has failed otherwise.
        """
        _raise_failure(self._store)
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
        return self._store.add(f"{self._name}/left", 0) == _team.size - 1


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
    RunError, Lost
        As `Call.counted`, or if a helper has given no sign of life for `LOST_SECONDS`.
    """
    call = Call(_team.calls, _team.store)
    with _others_can_be_lost():
        if _team.size > 1:
            marks = [(path, _mark(path)) for path in files if path is not None]
            _team.store.set(f"call/{_team.calls}", pickle.dumps((work, arguments, marks)))
        _team.calls += 1
        try:
            yield call
            _wait(call, on_progress)
        except BaseException:
            if _team.size > 1 and not collective:
                _stop(call)
            raise


def _mark(path: Path) -> tuple[int, int] | None:
    """What tells one version of a file from another: its size and time; None if it does not exist."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


def _wait_for(files: list[tuple[Path, tuple[int, int] | None]]) -> None:
    """Wait until this process sees files as the leader does: a network file system shows changes late."""
    deadline = time.monotonic() + LATE_SECONDS
    for path, mark in files:
        while _mark(path) != mark:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{path} is not the same on {name_of(this_host())} as on the machine of the first"
                    " process; all processes need the same STAFF_HOME"
                )
            time.sleep(POLL)


def _wait(call: Call, on_progress: Callable[[int], None]) -> None:
    watch = _Watch()
    while not call.alone:
        on_progress(call.counted())
        watch.look()
        time.sleep(POLL)
    if new := call.counted():
        on_progress(new)


def _stop(call: Call) -> None:
    """Stop the helpers, and wait until they have written their results; not for those that are gone."""
    try:
        call.stop()
        deadline = time.monotonic() + STOP_SECONDS
        while not call.alone and time.monotonic() < deadline and gone() is None:
            _raise_failure(_team.store)
            time.sleep(POLL)
    except (RuntimeError, StaffError, Lost) as error:
        log.warning("the other processes could not be stopped: %s", error)


class _Watch:
    """Notices helpers that give no sign of life."""

    def __init__(self) -> None:
        self._known = dict.fromkeys(range(1, _team.size), (-1, time.monotonic()))

    def look(self) -> None:
        moment = time.monotonic()
        for helper, (beats, since) in self._known.items():
            now = _team.store.add(f"beat/{helper}", 0)
            if now != beats:
                self._known[helper] = now, moment
            elif moment - since > LOST_SECONDS:
                raise Lost(f"{_name(helper)} has not answered for {LOST_SECONDS:g} s")


def _beat(store: Store, helper: int) -> None:
    while True:
        try:
            store.add(f"beat/{helper}", 1)
        except RuntimeError:
            return  # the store is gone, and the process ends at its next use of it
        time.sleep(BEAT_SECONDS)


def gone() -> str | None:
    """Which other process of the team on this machine has ended, as a sentence; None if none has."""
    if _team.size == 1:
        return None
    try:
        for number in set(range(_team.size)) - {_team.rank}:
            if _team.store.check([f"member/{number}"]):
                member = json.loads(_team.store.get(f"member/{number}"))
                here = member["host"] == this_host()
                if here and not is_alive(member["pid"], member["started"]):
                    return f"{_name(number)} is gone"
    except RuntimeError:
        return "the other processes of the run are gone"
    return None


def _name(number: int) -> str:
    member = json.loads(_team.store.get(f"member/{number}"))
    return f"process {number} of the run ({member['pid']} on {name_of(member['host'])})"


def _report_failure(error: Exception) -> None:
    line = " ".join(str(error).split())
    known = isinstance(error, StaffError)
    text = f"{_name(_team.rank)} failed: {line if known else f'{type(error).__name__}: {line}'[:500]}"
    _team.store.set("failure", json.dumps({"text": text, "known": known}))


def _raise_failure(store: Store) -> None:
    if store.check(["failure"]):
        failure = json.loads(store.get("failure"))
        raise (RunError if failure["known"] else Lost)(failure["text"])


def sum_over_all(values: torch.Tensor) -> torch.Tensor:
    """Add the values of all processes, in place. Every process must call it. Raises Lost."""
    if _team.size > 1:
        from torch import distributed

        with _others_can_be_lost(RuntimeError):
            distributed.all_reduce(values)
    return values


def agree(answer: bool) -> bool:
    """The leader's answer, in every process. Every process must call it. Raises Lost."""
    if _team.size == 1:
        return answer
    import torch
    from torch import distributed

    shared = torch.tensor([answer], dtype=torch.uint8)
    with _others_can_be_lost(RuntimeError):
        distributed.broadcast(shared, src=0)
    return bool(shared.item())


@contextmanager
def _others_can_be_lost(*broken: type[Exception]) -> Iterator[None]:
    """Turn the errors of a broken connection into `Lost`, and other types of exceptions that mean it here."""
    if _team.size == 1 and not launched():
        yield
        return
    from torch import distributed

    try:
        yield
    except (distributed.DistError, *broken) as error:
        raise Lost(gone() or f"the other processes of the run cannot be reached: {error}") from error
