"""The tokenized samples of a run: an Arrow file, memory-mapped, read sample by sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.system.arrow import open_stream

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class EncodedSample:
    """Token ids of a sample, and which of them belong to a response; same length."""

    input_ids: Sequence[int]
    response_mask: Sequence[bool]


class TokenTable(Sequence[EncodedSample]):
    """The samples that can be scored, by index; `row_ids` maps an index to a row.

    Attributes
    ----------
    row_ids, lengths, response_tokens
        int64 (n,): row id, number of all tokens and of response tokens of each sample.
    problems
        Row id → why the row cannot be scored, for all other rows.
    cut
        Number of samples with a truncated response.
    path
        The file of the table; None for one that is not in a file.
    templates
        How the text of the samples was made (`templates.How`) → number of samples. Empty for an older run.
    """

    def __init__(self, table: pa.Table, path: Path | None = None) -> None:
        import pyarrow.compute as pc

        self.path = path
        usable = pc.is_null(table["problem"]).to_numpy(zero_copy_only=False)
        rows = table["row_id"].to_numpy()
        reasons = table["problem"].filter(~usable).to_pylist()
        self.problems: dict[int, str] = dict(zip(rows[~usable].tolist(), reasons, strict=True))
        self.row_ids: np.ndarray = rows[usable]
        self.lengths: np.ndarray = (
            pc.list_value_length(table["input_ids"]).to_numpy()[usable].astype(np.int64)
        )
        self.cut = int(pc.sum(table["cut"]).as_py() or 0)
        made = table["template"].drop_null().to_pylist() if "template" in table.column_names else []
        self.templates: dict[str, int] = dict(Counter(made))
        self._indices = np.nonzero(usable)[0]
        self._chunks = table.select(["input_ids", "response_mask"]).to_batches()
        self._starts = np.cumsum([0, *(len(chunk) for chunk in self._chunks)])

    @cached_property
    def response_tokens(self) -> np.ndarray:
        counts = []
        for chunk in self._chunks:
            masks = chunk["response_mask"]
            sums = np.concatenate([[0], np.cumsum(masks.values.to_numpy(zero_copy_only=False))])
            offsets = masks.offsets.to_numpy()
            counts.append(sums[offsets[1:]] - sums[offsets[:-1]])
        return np.concatenate([np.zeros(0, dtype=np.int64), *counts])[self._indices]

    @cached_property
    def greatest_id(self) -> int:
        """The greatest token id of all samples; -1 without samples."""
        import pyarrow.compute as pc

        greatest = (pc.max(chunk["input_ids"].flatten()).as_py() for chunk in self._chunks)
        return max((id_ for id_ in greatest if id_ is not None), default=-1)

    def __len__(self) -> int:
        return len(self.row_ids)

    def __getitem__(self, index: Any) -> Any:
        position = self._indices[index]
        chunk = int(np.searchsorted(self._starts, position, side="right")) - 1
        row = self._chunks[chunk].slice(int(position - self._starts[chunk]), 1)
        ids, mask = (row[name].flatten().to_numpy(zero_copy_only=False) for name in row.schema.names)
        return EncodedSample(ids, mask)

    def joined(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The token ids of some samples, one after another, int64, and the number of each, int64 (n,).

        Parameters
        ----------
        indices
            int (n,): ascending.
        """
        positions = self._indices[indices]
        chunks = np.searchsorted(self._starts, positions, side="right") - 1
        ids = [np.zeros(0, np.int64)]
        for number in np.unique(chunks):
            column = self._chunks[number]["input_ids"]
            inside = positions[chunks == number] - self._starts[number]
            begins, ends = (column.offsets.to_numpy()[inside + end] for end in (0, 1))
            ids.append(column.values.to_numpy()[_ranges(begins, ends)].astype(np.int64))
        return np.concatenate(ids), self.lengths[indices]


def _ranges(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The whole numbers from each begin up to its end, one range after another."""
    counts = ends - begins
    return np.repeat(begins - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def open_tokens(path: Path) -> TokenTable:
    """Memory-map the file that `tokenization.tokenize_dataset` wrote. Raises RunError if it is damaged."""
    with open_stream(path) as stream:
        return TokenTable(stream.read_all(), path)
