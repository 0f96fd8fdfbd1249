"""Score tables on disk: numbered Parquet parts, each written atomically.

Each process of a run numbers its own parts: part-00000 of the first one, part-r01-00000 of the next.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.system import team
from staff_engine.system.arrow import open_parquet, read_table, to_arrow
from staff_engine.system.files import replaced

if TYPE_CHECKING:
    import pyarrow as pa

    from staff_engine.data.tokens import TokenTable
    from staff_engine.scoring.scorer import Scores

PART_SECONDS = 15
"""Seconds of scoring between parts: the most that a kill can lose."""

LISTS_IN_GROUP = 16_384
"""Rows of embeddings or token losses in a row group, which is read at a time."""

EMBEDDINGS_IN_BATCH = 32_768

COUNTS = ("row_id", "prompt_tokens", "response_tokens")
SCORE_COLUMNS = (*COUNTS, "effort", "loss", "el2n", "entropy", "seconds")

LOSS_ALONE = "loss_without_prompt"
"""The column of the losses without prompts."""


def alone_folder(folder: Path) -> Path:
    """The folder of the losses without prompts that belong to a score folder."""
    return folder.with_name(f"{folder.name}-without-prompt")


class PartWriter:
    """Collects scored batches and writes a part to each folder every `PART_SECONDS`.

    Parameters
    ----------
    folder
        For the scores, one row per sample.
    embeddings
        For the embeddings: row_id and a float16 vector. None: not written.
    token_losses
        For the losses of the response tokens: row_id and a list of float16. None: not written.
    """

    def __init__(
        self, folder: Path, embeddings: Path | None = None, token_losses: Path | None = None
    ) -> None:
        self.folder, self.embeddings, self.token_losses = folder, embeddings, token_losses
        for each in (folder, embeddings, token_losses):
            if each is not None:
                each.mkdir(exist_ok=True)
        self._clear()

    def another(self) -> PartWriter:
        """An empty writer to the same folders, for another process."""
        return PartWriter(self.folder, self.embeddings, self.token_losses)

    def _clear(self) -> None:
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in SCORE_COLUMNS}
        self._vectors: list[np.ndarray] = []
        self._losses: list[np.ndarray] = []
        self._since = time.monotonic()

    def add(self, tokens: TokenTable, batch: np.ndarray, scores: Scores, seconds: float) -> None:
        """Add a scored batch: indices in `tokens`, int (b,), its scores, and its time in seconds."""
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
        """Add row ids that the model cannot score. Their scores are NaN, so they are not scored again."""
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
        """Write the collected batches as the next part."""
        import pyarrow as pa

        if not self._columns["row_id"]:
            return
        columns = {name: np.concatenate(arrays) for name, arrays in self._columns.items()}
        number = _free_number(self.folder)
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


class LossPartWriter:
    """Collects batches of losses and writes a part every `PART_SECONDS`.

    Parameters
    ----------
    folder
        For the parts: row_id, the loss, and the seconds of each sample.
    column
        The name of the loss. For losses without prompts, the folder is that of `alone_folder`.
    """

    def __init__(self, folder: Path, column: str = LOSS_ALONE) -> None:
        self.folder, self.column = folder, column
        folder.mkdir(exist_ok=True)
        self._clear()

    def another(self) -> LossPartWriter:
        """An empty writer to the same folder, for another process."""
        return LossPartWriter(self.folder, self.column)

    def _clear(self) -> None:
        self._batches: list[tuple[np.ndarray, ...]] = []
        self._since = time.monotonic()

    def add(self, tokens: TokenTable, batch: np.ndarray, scores: np.ndarray, seconds: float) -> None:
        """Add a batch: indices in `tokens`, int (b,), its losses, float64 (b,), and its time in seconds."""
        each = np.full(len(batch), seconds / len(batch))
        self._batches.append((tokens.row_ids[batch], scores, each))
        if time.monotonic() - self._since > PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the collected batches as the next part."""
        import pyarrow as pa

        if not self._batches:
            return
        columns = map(np.concatenate, zip(*self._batches, strict=True))
        number = _free_number(self.folder)
        names = ("row_id", self.column, "seconds")
        _write(self.folder, number, pa.table(dict(zip(names, columns, strict=True))))
        self._clear()


def part_path(folder: Path, number: int) -> Path:
    """The path of a part of this process."""
    process = f"r{team.rank():02d}-" if team.rank() else ""
    return folder / f"part-{process}{number:05d}.parquet"


def _free_number(folder: Path) -> int:
    """The smallest number that no part has: a part that was damaged leaves a gap."""
    return next(number for number in itertools.count() if not part_path(folder, number).exists())


def _write(folder: Path, number: int, table: Any, *, lists: bool = False) -> None:
    import pyarrow.parquet as pq

    # Dictionary encoding of lists of mostly distinct numbers makes reading three times as slow.
    rows = LISTS_IN_GROUP if lists else None
    with replaced(part_path(folder, number)) as part:
        pq.write_table(table, part, use_dictionary=not lists, row_group_size=rows, write_page_checksum=True)


def read_parts(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """All parts of a score folder in one table; an empty table if there are none yet.

    Raises RunError if a part is damaged.
    """
    import pyarrow as pa

    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        names = columns or SCORE_COLUMNS
        return pa.table(
            {name: to_arrow(np.zeros(0, np.int64 if name in COUNTS else float)) for name in names}
        )
    return pa.concat_tables([read_table(path, columns) for path in paths])


def count_parts(folder: Path) -> int:
    """Rows in all parts of a score folder, from their footers."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in folder.glob("part-*.parquet"))


def read_embeddings(folder: Path, rows: int) -> np.ndarray:
    """The embedding of every row, float16 (rows, h): 0 if it has none, the largest number if it overflowed.

    h is 0 if the run kept no embeddings.
    """
    embeddings = np.zeros((rows, 0), np.float16)
    for path in sorted((folder / "embedding").glob("part-*.parquet")):
        with open_parquet(path) as file:
            for batch in file.iter_batches(EMBEDDINGS_IN_BATCH):
                vector = batch.column("vector")
                vectors = vector.flatten().to_numpy().reshape(len(vector), -1)
                if not embeddings.shape[1]:
                    embeddings = np.zeros((rows, vectors.shape[1]), np.float16)
                embeddings[batch.column("row_id").to_numpy()] = np.nan_to_num(vectors.astype(np.float16))
    return embeddings
