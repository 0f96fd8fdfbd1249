"""The number of rows in a data set, without converting them to samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from staff_engine.data.builtin.tasks import is_task, task_rows
from staff_engine.data.fetching import data_file
from staff_engine.data.files.kinds import count_file
from staff_engine.data.locating import HubData, files_of
from staff_engine.data.reading import Reading
from staff_engine.plan import Plan


def count_rows(plan: Plan, *, read: int, asked: int) -> int:
    """Count the rows that a run will import.

    Parameters
    ----------
    read
        How many rows were read when `asked` were requested. Fewer than `asked` means all of them.

    Raises
    ------
    DatasetError
        If the file cannot be read.
    """
    if read < asked or asked == plan.limit:
        return read
    if is_task(plan.dataset):
        return _count(task_rows(plan.dataset, plan.split), plan.limit)
    files = files_of(plan.dataset, plan.split)
    if files:
        reading = Reading.of(plan)
        rows = sum(count_file(data_file(path, reading), plan.limit) for path in files)
        return rows if plan.limit is None else min(rows, plan.limit)
    return _count_hub(plan)


def _count_hub(plan: Plan) -> int:
    from datasets import load_dataset

    hub = HubData.parse(plan.dataset)
    already_downloaded = load_dataset(hub.repository, hub.config, split=plan.split, revision=hub.revision)
    rows = len(already_downloaded)
    return rows if plan.limit is None else min(rows, plan.limit)


def _count(rows: Iterable[object], limit: int | None) -> int:
    return sum(1 for _ in itertools.islice(rows, limit))
