"""Score tables on disk: numbered parquet parts, each whole or not there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.system.arrow import read_table, to_arrow
from staff_engine.system.files import replaced

if TYPE_CHECKING:
    import pyarrow as pa

    from staff_engine.data.tokens import TokenTable
    from staff_engine.scoring.scorer import Scores

PART_SECONDS = 15
"""How much scoring a kill can lose."""

LISTS_IN_GROUP = 16_384
"""Rows of embeddings or token losses that are read at a time."""

EMBEDDINGS_IN_BATCH = 32_768

COUNTS = ("row_id", "prompt_tokens", "response_tokens")
SCORE_COLUMNS = (*COUNTS, "effort", "loss", "el2n", "entropy", "seconds")


class PartWriter:
    """Collects scored batches and writes a part of each folder whenever `PART_SECONDS` have passed.

    Parameters
    ----------
    folder
        Takes the scores, a row for each sample.
    embeddings
        Takes the embeddings, row_id and a float16 vector; None to leave them out.
    token_losses
        Takes the loss of each response token, row_id and a list of float16; None to leave them out.
    """

    def __init__(
        self, folder: Path, embeddings: Path | None = None, token_losses: Path | None = None
    ) -> None:
        self.folder, self.embeddings, self.token_losses = folder, embeddings, token_losses
        for each in (folder, embeddings, token_losses):
            if each is not None:
                each.mkdir(exist_ok=True)
        self._clear()

    def _clear(self) -> None:
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in SCORE_COLUMNS}
        self._vectors: list[np.ndarray] = []
        self._losses: list[np.ndarray] = []
        self._since = time.monotonic()

    def add(self, tokens: TokenTable, batch: np.ndarray, scores: Scores, seconds: float) -> None:
        """Take a scored batch: int (b,) places in `tokens`, its scores, and the seconds it took."""
        self._append(
            row_id=tokens.row_ids[batch],
            prompt_tokens=(tokens.lengths - tokens.response_tokens)[batch],
            response_tokens=tokens.response_tokens[batch],
            effort=np.where(scores.finite, scores.effort, np.nan),
            loss=scores.loss,
            el2n=scores.el2n,
            entropy=scores.entropy,
            seconds=np.full(len(batch), seconds / len(batch)),
        )
        self._vectors.append(scores.embedding)
        self._losses += scores.token_losses
        if time.monotonic() - self._since > PART_SECONDS:
            self.flush()

    def add_unscorable(self, rows: list[int]) -> None:
        """Take row ids that the model cannot score: their scores are NaN, so that nobody asks again."""
        nothing = np.full(len(rows), np.nan)
        zero = np.zeros(len(rows), dtype=np.int64)
        self._append(
            **{name: nothing for name in SCORE_COLUMNS if name not in COUNTS},
            row_id=np.array(rows, dtype=np.int64),
            prompt_tokens=zero,
            response_tokens=zero,
        )

    def _append(self, **columns: np.ndarray) -> None:
        for name, column in columns.items():
            self._columns[name].append(column)

    def flush(self) -> None:
        """Write what has been collected as the next part."""
        import pyarrow as pa

        if not self._columns["row_id"]:
            return
        columns = {name: np.concatenate(arrays) for name, arrays in self._columns.items()}
        number = len(list(self.folder.glob("part-*.parquet")))
        if self.embeddings is not None:
            vectors = np.concatenate(self._vectors)
            vector = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
            _write(
                self.embeddings, number, pa.table({"row_id": columns["row_id"], "vector": vector}), lists=True
            )
        if self.token_losses is not None:
            ends = np.cumsum([0, *map(len, self._losses)])
            losses = pa.LargeListArray.from_arrays(ends, pa.array(np.concatenate(self._losses)))
            _write(
                self.token_losses,
                number,
                pa.table({"row_id": columns["row_id"], "losses": losses}),
                lists=True,
            )
        _write(self.folder, number, pa.table(columns))
        self._clear()


def _write(folder: Path, number: int, table: Any, *, lists: bool = False) -> None:
    import pyarrow.parquet as pq

    # A dictionary of a list's numbers, hardly any of them alike, makes reading three times as slow.
    rows = LISTS_IN_GROUP if lists else None
    with replaced(folder / f"part-{number:05d}.parquet") as part:
        pq.write_table(table, part, use_dictionary=not lists, row_group_size=rows)


def read_parts(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """All whole parts of a score folder in one table; an empty one where none is written yet."""
    import pyarrow as pa

    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        names = columns or SCORE_COLUMNS
        return pa.table(
            {name: to_arrow(np.zeros(0, np.int64 if name in COUNTS else float)) for name in names}
        )
    return pa.concat_tables([read_table(path, columns) for path in paths])


def read_embeddings(folder: Path, rows: int) -> np.ndarray:
    """Every row's embedding, float16 (rows, h): 0 where it has none, the greatest number where it overflowed.

    h is 0 where the run kept no embeddings.
    """
    import pyarrow.parquet as pq

    found = np.zeros((rows, 0), np.float16)
    for path in sorted((folder / "embedding").glob("part-*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(EMBEDDINGS_IN_BATCH):
                vector = batch.column("vector")
                vectors = vector.flatten().to_numpy().reshape(len(vector), -1)
                if not found.shape[1]:
                    found = np.zeros((rows, vectors.shape[1]), np.float16)
                found[batch.column("row_id").to_numpy()] = np.nan_to_num(vectors.astype(np.float16))
    return found
