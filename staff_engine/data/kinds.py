"""What is known to be wrong with each row: the field `_kind` of the variants of built-in tasks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np

from staff_engine.data.builtin.variants import KIND
from staff_engine.data.rows import selected_lines


def row_kinds(imported: Path, rows: int) -> np.ndarray | None:
    """Read the kind of every row, such as "clean" or "swapped".

    Any data can have the field, not only built-in variants.

    Parameters
    ----------
    imported
        The folder of an import.
    rows
        Number of rows in it.

    Returns
    -------
    object (rows,) or None
        Text, "" for a row without a kind. None if the first row has none: the others are not read.
    """
    kinds = np.full(rows, "", dtype=object)
    for row_id, line in selected_lines(imported, np.arange(rows)):
        kinds[row_id] = _kind_in(line)
        if row_id == 0 and not kinds[0]:
            return None
    return kinds if rows else None


def kind_shares(kinds: np.ndarray, row_ids: np.ndarray) -> dict[str, float]:
    """The share of each kind among some rows, 0 to 1, by name; kinds that none of them has are 0.

    Parameters
    ----------
    kinds : object (rows,)
        From `row_kinds`.
    row_ids : int64 (m,)
        Some of the rows.
    """
    counts = Counter(kinds[row_ids].tolist())
    return {kind: counts[kind] / max(1, len(row_ids)) for kind in sorted(set(kinds.tolist()) - {""})}


def _kind_in(line: bytes) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return ""
    kind = record.get(KIND) if isinstance(record, dict) else None
    return kind if isinstance(kind, str) else ""
