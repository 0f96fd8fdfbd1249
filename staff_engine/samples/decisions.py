"""The decision on every imported row: its scores, its stratum, and why it is kept or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.selection.strata import DROPPED, NO_SCORE
from staff_engine.system.arrow import by_row, texts, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection

ROW_GROUP = 1_000_000


@dataclass(frozen=True)
class Decisions:
    """Scores and decision of each imported row; every array is (rows,), in the order of the row ids."""

    speculative: np.ndarray
    """float64: the selection's score on the small model; NaN if the row is unscorable."""
    loss: np.ndarray
    """float64: mean loss on the small model; NaN if the row is unscorable."""
    verification: np.ndarray
    """float64: the same score on the target; NaN if the row is not verified."""
    strata: np.ndarray
    """int16: the stratum; `DROPPED`, `DUPLICATE` or `NO_SCORE` if there is none."""
    kept: np.ndarray
    """bool: whether the row is in the coreset."""
    unscorable: Mapping[int, str]
    """row_id → why it cannot be scored."""
    duplicates: np.ndarray
    """int64 (d, 2): row ids of near duplicates that are left out, and of the rows kept in their place."""

    def staff(self, row_id: int) -> dict[str, int | float | None]:
        """The content of a kept row's field `_staff`."""
        verified = float(self.verification[row_id])
        return {
            "row_id": row_id,
            "speculative_score": float(self.speculative[row_id]),
            "verification_score": verified if np.isfinite(verified) else None,
            "stratum": int(self.strata[row_id]),
        }

    def reasons(self) -> tuple[np.ndarray, list[str]]:
        """Why each row is kept or not: int32 codes (rows,), and the text of each code."""
        words = [
            "kept",
            f"dropped: among the {(self.strata == DROPPED).sum()} hardest",
            "unscorable: no score",
        ]
        codes = np.maximum(self.strata, 0) + np.int32(len(words))
        words += [f"over the budget of stratum {i}" for i in range(self.strata.max(initial=-1) + 1)]
        codes[self.kept] = 0
        codes[self.strata == DROPPED] = 1
        codes[self.strata == NO_SCORE] = 2
        kept_instead, place = np.unique(self.duplicates[:, 1], return_inverse=True)
        codes[self.duplicates[:, 0]] = len(words) + place
        words += [f"near duplicate of row {row_id}" for row_id in kept_instead]
        code_of: dict[str, int] = {}
        for row_id, reason in self.unscorable.items():
            if self.strata[row_id] == NO_SCORE:
                codes[row_id] = code_of.setdefault(reason, len(words) + len(code_of))
        return codes, [*words, *(f"unscorable: {reason}" for reason in code_of)]

    def write(self, path: Path) -> None:
        """Write a Parquet file: row_id, speculative_score, loss, stratum, verification_score, kept, reason.

        A score, loss or stratum that a row does not have is null.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        codes, words = self.reasons()
        reasons = texts(words)
        schema = pa.schema(
            [
                ("row_id", pa.int64()),
                ("speculative_score", pa.float64()),
                ("loss", pa.float64()),
                ("stratum", pa.int32()),
                ("verification_score", pa.float64()),
                ("kept", pa.bool_()),
                ("reason", pa.dictionary(pa.int32(), pa.string())),
            ]
        )
        coded = ["stratum", "reason"]  # a dictionary of scores, all different, costs time and space
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=coded) as writer:
            for start in range(0, len(codes), ROW_GROUP):
                rows = slice(start, start + ROW_GROUP)
                columns = [
                    to_arrow(np.arange(start, start + len(codes[rows]))),
                    _finite(self.speculative[rows]),
                    _finite(self.loss[rows]),
                    to_arrow(self.strata[rows], self.strata[rows] >= 0),
                    _finite(self.verification[rows]),
                    to_arrow(self.kept[rows]),
                    pa.DictionaryArray.from_arrays(to_arrow(codes[rows]), reasons),
                ]
                writer.write_table(pa.table(columns, schema=schema))


def decide(results: Results, selection: Selection) -> Decisions:
    """Gather the decisions of a selection from a run's results."""
    rows = results.num_rows
    kept = np.zeros(rows, dtype=bool)
    kept[selection.indices] = True
    return Decisions(
        speculative=results.scores_by(selection.score),
        loss=results.losses,
        verification=by_row(rows, results.verified_ids, results.verified_by(selection.score)),
        strata=selection.labels,
        kept=kept,
        unscorable=results.unscorable,
        duplicates=selection.duplicates,
    )


def _finite(values: np.ndarray) -> pa.Array:
    return to_arrow(values, np.isfinite(values))
