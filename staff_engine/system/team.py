"""The processes that work on a run together, as torchrun starts them. One process is a team of one.

The first process is the leader, the others are its helpers. They exchange counts and messages through the
key-value store of torch.distributed, and gradients through its collective operations.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from staff_engine.system.hosts import name_of, this_host
from staff_engine.system.processes import is_alive, start_time

if TYPE_CHECKING:
    import torch

RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
"""Variables that torchrun and `accelerate launch` set: number of the process and of all; on this machine."""

HIDDEN = (
    RANK, SIZE, LOCAL_RANK, LOCAL_SIZE, "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE",
    "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE",
)  # fmt: skip
"""Variables that are removed after joining: a Trainer would divide the work a second time."""

OF_ACCELERATE = "ACCELERATE_"
"""How variables of `accelerate launch` begin. They are removed too: a Trainer would train in the number
format of the user's configuration of accelerate, not in that of the plan."""

VISIBLE, THREADS = "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"

TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
"""The arguments of Python that start several processes on this machine; those of a process follow."""

BEAT_SECONDS = 5.0
JOIN_MINUTES = 10
"""How long a process waits for the others at the start."""

COLLECTIVE_MINUTES = 120
"""How long it waits for them in a collective operation: one can still load a large model."""

log = logging.getLogger(__name__)


class Lost(Exception):
    """A process of the team is gone."""


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
class Team:
    """This process's place among the processes of a run."""

    rank: int = 0
    size: int = 1
    store: Store = field(default_factory=OwnStore)
    calls: int = 0


_team = Team()


def current() -> Team:
    """The team of this process."""
    return _team


def end() -> None:
    """Be a team of one again."""
    global _team
    _team = Team()


def rank() -> int:
    """The number of this process in its team; 0 is the leader."""
    return _team.rank


def size() -> int:
    """The number of processes in the team."""
    return _team.size


def launched() -> bool:
    """Whether torchrun, or a launcher like it, has started this process as one of several."""
    return RANK in os.environ and int(os.environ.get(SIZE, "1")) > 1


def several(command: Sequence[str], processes: int) -> tuple[str, ...]:
    """A command of Python that is to be run by several processes of this machine, under torchrun."""
    python, *arguments = command
    torchrun = (*TORCHRUN, f"--nproc-per-node={processes}") if processes > 1 else ()
    return (python, *torchrun, *arguments)


def threads_each(processes: int) -> dict[str, str]:
    """The variable that divides the cores among several processes, unless it is set already."""
    if processes == 1 or THREADS in os.environ:
        return {}
    return {THREADS: str(max(1, (os.cpu_count() or 1) // processes))}


def join() -> None:
    """Join the other processes that the same launcher started. Must be called before CUDA is used.

    Each process then sees only its own GPU, so everything else works as in a run of one process.

    Raises
    ------
    Lost
        If the others do not join in time.
    """
    rank, size = int(os.environ[RANK]), int(os.environ[SIZE])
    gpus = visible_gpus()
    own_card = gpus >= int(os.environ.get(LOCAL_SIZE, size))  # NCCL refuses two processes on a GPU
    number = int(os.environ.get(LOCAL_RANK, rank))
    os.environ[VISIBLE] = own_gpu(os.environ.get(VISIBLE), number, gpus)
    import torch
    from torch import distributed

    patience = timedelta(minutes=JOIN_MINUTES)
    backend = "cpu:gloo,cuda:nccl" if own_card and torch.cuda.is_available() else "gloo"
    with others_can_be_lost():
        store, _, _ = next(distributed.rendezvous("env://", timeout=patience))
        distributed.init_process_group(
            backend,
            store=distributed.PrefixStore("torch", store),
            rank=rank,
            world_size=size,
            timeout=timedelta(minutes=COLLECTIVE_MINUTES),
        )
    hide_launcher()
    # It says that the team's processes do not train as a Trainer expects, which is so on purpose.
    logging.getLogger("transformers.training_args").setLevel(logging.ERROR)
    global _team
    _team = Team(rank, size, distributed.PrefixStore("staff", store))
    pid = os.getpid()
    member = {"host": this_host(), "pid": pid, "started": start_time(pid)}
    _team.store.set(f"member/{rank}", json.dumps(member))
    beating = distributed.PrefixStore("staff", store.clone())
    threading.Thread(target=_beat, args=(beating, rank), name="beat", daemon=True).start()


def hide_launcher() -> None:
    """Remove the variables by which a Trainer would know that this process is one of several."""
    for name in list(os.environ):
        if name in HIDDEN or name.startswith(OF_ACCELERATE):
            del os.environ[name]


def visible_gpus() -> int:
    """The number of NVIDIA GPUs that this process may use, found without CUDA."""
    if VISIBLE in os.environ:
        return len([card for card in os.environ[VISIBLE].split(",") if card not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def own_gpu(visible: str | None, number: int, gpus: int) -> str:
    """The value of CUDA_VISIBLE_DEVICES for a process, from that of its machine and its number there.

    Processes share GPUs if there are more processes than GPUs.

    >>> own_gpu("4,5", 1, 2), own_gpu(None, 1, 8), own_gpu(None, 3, 2), own_gpu("", 1, 0)
    ('5', '1', '1', '')
    """
    if visible is None:
        return str(number % gpus if gpus else number)
    cards = visible.split(",")
    return cards[number % len(cards)]


def _beat(store: Store, number: int) -> None:
    while True:
        try:
            store.add(f"beat/{number}", 1)
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
                    return f"{name_of_member(number)} is gone"
    except RuntimeError:
        return "the other processes of the run are gone"
    return None


def name_of_member(number: int) -> str:
    member = json.loads(_team.store.get(f"member/{number}"))
    return f"process {number} of the run ({member['pid']} on {name_of(member['host'])})"


def sum_over_all(values: torch.Tensor) -> torch.Tensor:
    """Add the values of all processes, in place. Every process must call it. Raises Lost."""
    if _team.size > 1:
        from torch import distributed

        with others_can_be_lost(RuntimeError):
            distributed.all_reduce(values)
    return values


def agree(answer: bool) -> bool:
    """The leader's answer, in every process. Every process must call it. Raises Lost."""
    if _team.size == 1:
        return answer
    import torch
    from torch import distributed

    shared = torch.tensor([answer], dtype=torch.uint8)
    with others_can_be_lost(RuntimeError):
        distributed.broadcast(shared, src=0)
    return bool(shared.item())


@contextmanager
def others_can_be_lost(*broken: type[Exception]) -> Iterator[None]:
    """Turn the errors of a broken connection into `Lost`, and other types of exceptions that mean it here."""
    if _team.size == 1 and not launched():
        yield
        return
    from torch import distributed

    try:
        yield
    except (distributed.DistError, *broken) as error:
        raise Lost(gone() or f"the other processes of the run cannot be reached: {error}") from error
