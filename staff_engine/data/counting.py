"""The number of rows in a data set, without converting them to samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from staff_engine.data.builtin.tasks import is_task, task_rows
from staff_engine.data.files.compression import compression_of, opened
from staff_engine.data.files.kinds import kind_of
from staff_engine.data.files.lines import BOM
from staff_engine.errors import DatasetError
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
    source = Path(plan.dataset).expanduser()
    if is_task(plan.dataset):
        return _count(task_rows(plan.dataset, plan.split), plan.limit)
    if source.is_file():
        try:
            return _count_file(source, plan.limit)
        except OSError as error:
            raise DatasetError(f"data file {str(source)!r} cannot be read: {error}") from None
    return _count_hub(plan)


def _count_file(path: Path, limit: int | None) -> int:
    kind = kind_of(path)
    if kind.suffix == ".parquet" and not compression_of(path):
        import pyarrow.parquet as pq

        rows = int(pq.read_metadata(path).num_rows)
        return rows if limit is None else min(rows, limit)
    with opened(path) as file:
        if kind.rows is None:
            return _count((line for line in file if line.removeprefix(BOM).strip()), limit)
        with closing(kind.rows(file, path)) as read:
            return _count(read, limit)


def _count_hub(plan: Plan) -> int:
    from datasets import load_dataset

    name, _, config = plan.dataset.partition(":")
    rows = len(load_dataset(name, config or None, split=plan.split))  # already downloaded
    return rows if plan.limit is None else min(rows, plan.limit)


def _count(rows: Iterable[object], limit: int | None) -> int:
    return sum(1 for _ in itertools.islice(rows, limit))
