"""Inspections of every row of a data set, as background jobs, and their results.

Each job is in `<home>/inspections/<key>/`: `inspection.json` (its state and, at the end, the
findings), `problems.parquet`, `first.jsonl` and `log.txt`. The key is made of the choice and of
the file's size and time, so that the same inspection is not made twice.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from staff_engine.data.builtin.tasks import is_task, made_with
from staff_engine.data.fetching import Fetched
from staff_engine.data.files.compression import COMPRESSED
from staff_engine.data.files.kinds import suffix_of
from staff_engine.data.first_rows import FirstRows, rows_of_lines
from staff_engine.data.inspection.findings import DataChoice, Findings
from staff_engine.data.inspection.scan import FIRST_FILE, PROBLEMS_FILE, STEP, inspect_data
from staff_engine.data.locating import absolute_source, files_of, in_hub_data
from staff_engine.data.sources import is_on_hub
from staff_engine.errors import DatasetError, StaffError
from staff_engine.system import background
from staff_engine.system.hub import hub_answers
from staff_engine.system.processes import start_time

KEPT = 40
"""Number of newest inspections to keep."""

VERSION = 3
"""Part of the key; increased when findings change."""

SECONDS_BETWEEN = 0.3
"""Minimum seconds between two writes of the progress."""

SMALL = 6_000_000
"""Bytes of a file that is read in about half a second; a fifth of it for a compressed file."""

SMALL_LIMIT = 5000
"""Rows that are read in about half a second."""

COMMAND = (sys.executable, "-m", "staff_engine", "inspect")


class Inspection(BaseModel):
    """The content of inspection.json; frozen."""

    model_config = ConfigDict(frozen=True)

    choice: DataChoice
    state: Literal["running", "finished", "failed"] = "running"
    rows: int = 0
    share: float = 0.0  # of all rows, 0 if unknown
    message: str = ""
    pid: int | None = None
    pid_started: float | None = None
    background: bool = False  # in a separate process, which can be stopped
    seconds: float = 0.0
    findings: Findings | None = None


JOBS = background.Jobs("inspections", "inspection.json", Inspection, at_work="running")


@dataclass(frozen=True)
class Problem:
    """A row that cannot be used."""

    number: int
    detail: str
    text: str


def start_inspection(choice: DataChoice, *, again: bool = False) -> str:
    """Inspect a data set in the background, unless it already was; returns the key.

    Parameters
    ----------
    again
        Inspect it again, even if finished.

    Raises
    ------
    DatasetError
        If the file does not exist, or no process can be started.
    """
    choice = _absolute(choice)
    key = key_of(choice)

    def begun(pid: int, started: float) -> Inspection:
        return Inspection(choice=choice, pid=pid, pid_started=started, background=True)

    try:
        background.start(
            JOBS,
            key,
            [*COMMAND, *background.as_options(choice.changed)],
            kept=KEPT,
            wanted=lambda known: again or known.state == "failed",
            begun=begun,
        )
    except OSError as error:
        raise DatasetError(f"{choice.dataset} cannot be inspected: {error}") from error
    return key


def inspect_here(choice: DataChoice, *, again: bool = False) -> Inspection:
    """Inspect a data set in this process, or return the existing result immediately.

    If another process is inspecting it, wait until that process ends. An error in the data is in
    the result's message.
    """
    from filelock import FileLock

    choice = _absolute(choice)
    key = key_of(choice)
    folder = background.make_folder(JOBS, key, kept=KEPT)
    with FileLock(folder / background.LOCK_FILE):
        kept = read_inspection(key)
        if kept is not None and kept.state == "finished" and not again:
            return kept
        pid = os.getpid()
        mine = kept is not None and kept.pid == pid and kept.background
        inspection = Inspection(choice=choice, pid=pid, pid_started=start_time(pid), background=mine)
        return _carry_out(inspection, key)


def findings_of(choice: DataChoice) -> Findings:
    """The findings of `inspect_here`. Raises DatasetError if the data cannot be read or no format fits."""
    inspection = inspect_here(choice)
    if inspection.findings is None:
        raise DatasetError(inspection.message)
    return inspection.findings


def read_inspection(key: str) -> Inspection | None:
    """Read an inspection or its progress; None if there is none. It has failed if its process died."""
    return background.read(JOBS, key)


def stop_inspection(key: str) -> None:
    """Stop and delete an inspection that runs in the background."""
    inspection = read_inspection(key)
    if inspection is not None and inspection.background:
        background.stop(JOBS, key)


def read_problems(key: str, reason: str | None = None, start: int = 0, count: int = 50) -> list[Problem]:
    """Some of the unusable rows, for one reason or all, in order."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(JOBS.folder(key) / PROBLEMS_FILE) as file:
        reasons = file.read(columns=["reason"]).column(0).to_pylist()
        wanted = [index for index, each in enumerate(reasons) if reason in (None, each)]
        wanted = wanted[start : start + count]
        groups = {
            group: file.read_row_group(group, ["number", "detail", "text"]).to_pylist()
            for group in sorted({index // STEP for index in wanted})
        }
    return [Problem(**groups[index // STEP][index % STEP]) for index in wanted]


def kept_first_rows(key: str) -> FirstRows | None:
    """The first rows of an inspected hub data set, even if no format fits them."""
    path = JOBS.folder(key) / FIRST_FILE
    return rows_of_lines(path, Fetched("row")) if path.exists() else None


def is_small(choice: DataChoice) -> bool:
    """Whether `inspect_here` is fast enough to wait for."""
    files = files_of(choice.dataset, choice.split)
    if not files:
        return False
    if choice.limit is not None and choice.limit <= SMALL_LIMIT and suffix_of(files[0]) != ".json":
        return True  # the rest is not read
    packed = files[0].suffix.lower() in (*COMPRESSED, ".parquet")
    return sum(path.stat().st_size for path in files) <= (SMALL / 5 if packed else SMALL)


def key_of(choice: DataChoice) -> str:
    """The key of an inspection: the choice, and the state of the data. Raises DatasetError."""
    state: object = None
    if is_task(choice.dataset):
        state = made_with(choice.dataset)
    elif files := files_of(choice.dataset, choice.split):
        state = background.state_of(files)
    return background.key_of([VERSION, {"dataset": choice.dataset, **asdict(choice)}, state])


def _carry_out(inspection: Inspection, key: str) -> Inspection:
    """Inspect, and write the progress, then the findings or the error."""
    begun = written = time.monotonic()
    background.save(JOBS, key, inspection)

    def progress(rows: int, share: float) -> None:
        nonlocal written
        if time.monotonic() - written > SECONDS_BETWEEN:
            written = time.monotonic()
            background.save(JOBS, key, inspection.model_copy(update={"rows": rows, "share": share}))

    def ended(**changes: object) -> Inspection:
        seconds = time.monotonic() - begun
        return background.save(JOBS, key, inspection.model_copy(update={**changes, "seconds": seconds}))

    try:
        _ask_hub(inspection.choice.dataset)
        findings = inspect_data(inspection.choice, JOBS.folder(key), progress)
    except StaffError as error:
        return ended(state="failed", message=" ".join(str(error).split()))
    except Exception as error:
        ended(state="failed", message=f"{type(error).__name__}: {' '.join(str(error).split())}"[:500])
        raise
    return ended(state="finished", rows=findings.rows, share=1.0, findings=findings)


def _ask_hub(source: str) -> None:
    """Raise DatasetError early if the data set is on the hub and the hub cannot be reached."""
    if not is_on_hub(source):
        return
    if not in_hub_data(source) and not hub_answers():
        raise DatasetError(
            f"the hub cannot be reached from this machine, so {source!r} cannot be read; "
            "check the connection, or choose a file or a built-in data set"
        )


def _absolute(choice: DataChoice) -> DataChoice:
    apart_from = None if choice.apart_from is None else absolute_source(choice.apart_from)
    return replace(choice, dataset=absolute_source(choice.dataset), apart_from=apart_from)
