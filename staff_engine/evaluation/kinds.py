"""How many wrong, repeated and rare rows a coreset has, where the data says it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

from staff_engine.data.builtin.variants import KIND
from staff_engine.data.dataset import Imported
from staff_engine.data.rows import selected_lines


def kinds_of(imported: Imported) -> np.ndarray | None:
    """What was done to each row, by the field `_kind`: str (N,); "" where a row does not say it.

    None if the first row has no such field: other rows are then not read.
    """
    kinds: list[str] = []
    for _, line in selected_lines(imported.folder, np.arange(imported.facts.rows)):
        kind = _kind(line)
        if not kinds and not kind:
            return None
        kinds.append(kind)
    return np.array(kinds)


def shares_of(kinds: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """The share of each kind in a coreset, 0 to 1; 0 for kinds that occur only in other rows.

    Parameters
    ----------
    kinds : str (N,)
    rows : int64 (m,)
        Row ids, at least one.
    """
    counts = Counter(kinds[rows].tolist())
    return {kind: counts[kind] / len(rows) for kind in sorted(set(kinds.tolist()))}


def _kind(line: bytes) -> str:
    try:
        row = json.loads(line)
    except ValueError:
        return ""
    kind = row.get(KIND) if isinstance(row, dict) else None
    return kind if isinstance(kind, str) else ""
