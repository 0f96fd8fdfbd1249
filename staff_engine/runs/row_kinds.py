"""What a coreset has of each kind of row, where the data says what is wrong with its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.builtin.kinds import kind_shares

if TYPE_CHECKING:
    from staff_engine.runs.results import Results


def kinds_in_words(results: Results, indices: np.ndarray) -> str:
    """The share of each kind in a coreset and in the data, in a sentence; "" if the data does not say it.

    Parameters
    ----------
    indices : int64 (m,)
        Row ids of a coreset.
    """
    if results.kinds is None:
        return ""
    scorable = np.flatnonzero(np.isfinite(results.speculative))
    coreset, data = (kind_shares(results.kinds, rows) for rows in (indices, scorable))
    found = ", ".join(f"{kind} {coreset[kind]:.0%} (in the data {data[kind]:.0%})" for kind in data)
    return f"Kinds of rows in the coreset: {found}."
