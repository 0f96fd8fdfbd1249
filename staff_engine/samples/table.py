"""The sample table: its rows, their order, and the content of one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.rows import selected_turns
from staff_engine.data.turns import Turn
from staff_engine.errors import PlanError
from staff_engine.samples.neighbours import map_coordinates
from staff_engine.system.arrow import open_stream, to_arrow

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from staff_engine.runs.results import Results
    from staff_engine.samples.columns import SampleColumns
    from staff_engine.samples.filters import Filter

PREVIEW = 200
"""Characters of a prompt or response that a table shows."""

SORTED_BY = 80
"""Characters of a prompt or response that are used for sorting."""

TEXTS = {"prompt": "user", "response": "assistant"}
"""The texts of a sample and their roles: the first of the user, the last of the assistant."""

_SORTS: dict[str, Callable[[SampleColumns], np.ndarray]] = {
    "row_id": lambda columns: np.arange(len(columns)),
    "score": lambda columns: columns.speculative,
    "verification": lambda columns: columns.verification,
    "stratum": lambda columns: np.where(columns.strata < 0, np.nan, columns.strata),
    "loss": lambda columns: columns.loss,
    "tokens": lambda columns: np.where(columns.scorable, columns.response_tokens, np.nan),
    "kept": lambda columns: columns.kept,
}
"""The values to sort by, NaN for rows without one."""

SORTS = (*_SORTS, *TEXTS)
"""The names to sort by."""


def filter_mask(results: Results, columns: SampleColumns, chosen: Filter) -> np.ndarray:
    """Which rows pass all parts of a filter: bool (rows,).

    Parameters
    ----------
    results
        The run. Its map and texts are read only if the filter needs them; the results of the
        last few texts are cached.
    columns
        The columns of its rows.
    """
    on_map = chosen.map_x is not None or chosen.map_y is not None
    mask = chosen.mask(columns, map_coordinates(results) if on_map else None)
    return mask & _remembered_mask(results.imported.folder, chosen.text) if chosen.text else mask


@lru_cache(maxsize=8)
def _remembered_mask(imported: Path, text: str) -> np.ndarray:
    mask = text_mask(imported, text)
    mask.flags.writeable = False
    return mask


def text_mask(imported: Path, text: str) -> np.ndarray:
    """Which rows contain a text in any of their turns, ignoring case: bool (rows,).

    The rows are read batch by batch from the memory-mapped file.

    Parameters
    ----------
    imported
        The folder of an import.
    text
        Literal text, not a pattern.
    """
    import pyarrow.compute as pc

    masks = [np.zeros(0, dtype=bool)]
    for turns in _batches(imported):
        matches = pc.match_substring(pc.struct_field(turns.flatten(), "content"), text, ignore_case=True)
        rows = np.repeat(np.arange(len(turns)), np.diff(turns.offsets.to_numpy()))
        mask = np.zeros(len(turns), dtype=bool)
        mask[rows[matches.to_numpy(zero_copy_only=False)]] = True
        masks.append(mask)
    return np.concatenate(masks)


def text_ranks(imported: Path, which: str) -> np.ndarray:
    """The alphabetical rank of every row, by its prompt or response: int64 (rows,).

    The prompt is the first user turn, the response the last assistant turn. Only their first
    `SORTED_BY` characters are compared, ignoring case. Rows with equal beginnings have the
    same rank.

    Parameters
    ----------
    which
        "prompt" or "response".

    Raises
    ------
    PlanError
        If it is neither.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if which not in TEXTS:
        raise PlanError(f"text is {which!r}; allowed: {', '.join(TEXTS)}")
    heads = [
        pc.utf8_lower(pc.utf8_slice_codeunits(_texts(turns, which), 0, SORTED_BY))
        for turns in _batches(imported)
    ]
    if not heads:
        return np.zeros(0, dtype=np.int64)
    ranks = pc.rank(pa.chunked_array(heads), sort_keys="ascending", tiebreaker="dense")
    return ranks.to_numpy(zero_copy_only=False).astype(np.int64)


def sorted_rows(
    columns: SampleColumns,
    mask: np.ndarray,
    *,
    sort: str = "row_id",
    descending: bool = False,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Row ids that pass a filter, int64, in the order of the table.

    Rows without a value are last in either order; ties are sorted by row id.

    Parameters
    ----------
    columns
        The columns of all rows.
    mask
        bool (rows,): which rows to show.
    sort
        One of `SORTS`.
    ranks
        The result of `text_ranks`, if the table is sorted by prompt or response.

    Raises
    ------
    PlanError
        If `sort` is unknown.
    """
    if sort not in SORTS:
        raise PlanError(f"sort is {sort!r}; allowed: {', '.join(SORTS)}")
    rows = np.flatnonzero(mask)
    if sort == "row_id":
        return rows[::-1] if descending else rows
    values = _sort_values(columns, sort, ranks)[rows].astype(np.float64)
    keys = np.where(np.isnan(values), np.inf, -values if descending else values)
    return rows[np.argsort(keys, kind="stable")]


def _sort_values(columns: SampleColumns, sort: str, ranks: np.ndarray | None) -> np.ndarray:
    if sort in TEXTS:
        if ranks is None:
            raise TypeError(f"sorting by {sort} needs its ranks")
        return ranks
    return _SORTS[sort](columns)


def table_page(imported: Path, columns: SampleColumns, row_ids: np.ndarray) -> pd.DataFrame:
    """The table's content for some rows, in their order.

    Columns: row_id; prompt and response, truncated to `PREVIEW` characters; score and
    verification, the efforts on the small model and on the target; stratum; loss; tokens
    of the response; kept; why. Values that a row does not have are missing.

    Parameters
    ----------
    imported
        The folder of the import.
    columns
        The columns of all rows.
    row_ids
        int64 (n,), unique; only a few, because their texts are read.
    """
    import pandas as pd

    codes, words = columns.reasons()
    scorable = columns.scorable[row_ids]
    strata = columns.strata[row_ids].astype(np.int64)
    previews = {row_id: _previews(turns) for row_id, turns in selected_turns(imported, np.sort(row_ids))}
    return pd.DataFrame(
        {
            "row_id": row_ids,
            "prompt": [previews[row_id][0] for row_id in row_ids.tolist()],
            "response": [previews[row_id][1] for row_id in row_ids.tolist()],
            "score": columns.speculative[row_ids],
            "verification": columns.verification[row_ids],
            "stratum": pd.array(np.where(strata < 0, 0, strata), dtype="Int64").copy(),
            "loss": columns.loss[row_ids],
            "tokens": pd.array(columns.response_tokens[row_ids], dtype="Int64").copy(),
            "kept": columns.kept[row_ids],
            "why": [words[code] for code in codes[row_ids]],
        }
    ).assign(
        stratum=lambda frame: frame["stratum"].mask(strata < 0),
        tokens=lambda frame: frame["tokens"].mask(~scorable),
    )


def preview(text: str) -> str:
    """The beginning of a text on one line, with an ellipsis if it is truncated."""
    line = " ".join(text[: 2 * PREVIEW].split())
    cut = len(line) > PREVIEW or len(text) > 2 * PREVIEW
    return f"{line[: PREVIEW - 1].rstrip()}…" if cut else line


def _previews(turns: list[Turn]) -> tuple[str, str]:
    prompts, responses = (
        [turn["content"] for turn in turns if turn["role"] == role] for role in TEXTS.values()
    )
    return preview("".join(prompts[:1])), preview("".join(responses[-1:]))


def _texts(turns: pa.ListArray, which: str) -> pa.Array:
    """The text of `_previews` for every row of a batch; null if there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = turns.flatten()
    offsets = turns.offsets.to_numpy() - turns.offsets[0].as_py()
    starts, ends = offsets[:-1], offsets[1:]
    role = TEXTS[which]
    indices = np.flatnonzero(pc.equal(pc.struct_field(flat, "role"), role).to_numpy(zero_copy_only=False))
    near = np.searchsorted(indices, starts) if which == "prompt" else np.searchsorted(indices, ends) - 1
    inside = (near >= 0) & (near < len(indices))
    index = np.where(inside, np.append(indices, 0)[np.where(inside, near, 0)], -1)
    inside = (index >= starts) & (index < ends)
    taken = to_arrow(np.where(inside, index, 0), inside)
    return (
        pc.take(pc.struct_field(flat, "content"), taken) if len(flat) else pa.nulls(len(turns), pa.string())
    )


def _batches(imported: Path) -> Iterator[pa.ListArray]:
    """Yield the turns of the imported rows, batch by batch, memory-mapped."""
    with open_stream(imported / "rows.arrow") as stream:
        for batch in stream:
            yield batch.column("turns")
