"""Columns for filters and tables: scores, lengths and decisions of every imported row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.samples.decisions import Decisions, decide
from staff_engine.system.arrow import by_row, to_numpy

if TYPE_CHECKING:
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection


@dataclass(frozen=True)
class SampleColumns(Decisions):
    """The decisions on all rows, and their lengths; every array is (rows,), by row id."""

    prompt_tokens: np.ndarray
    """int64: tokens of the prompt, for the small model; 0 if the row is unscorable."""
    response_tokens: np.ndarray
    """int64: tokens of the response, for the small model; 0 if the row is unscorable."""

    def __len__(self) -> int:
        return len(self.speculative)

    @property
    def scorable(self) -> np.ndarray:
        """bool: whether the row has a score on the small model."""
        return np.isfinite(self.speculative)

    @property
    def verified(self) -> np.ndarray:
        """bool: whether the row has a score on the target."""
        return np.isfinite(self.verification)


def sample_columns(results: Results, selection: Selection) -> SampleColumns:
    """Gather the columns of a selection from a run's results."""
    decisions = decide(results, selection)
    table = results.read("speculative", ["row_id", "prompt_tokens", "response_tokens"])
    rows, row_ids = results.num_rows, to_numpy(table["row_id"])
    return SampleColumns(
        **vars(decisions),
        prompt_tokens=by_row(rows, row_ids, to_numpy(table["prompt_tokens"]), missing=0),
        response_tokens=by_row(rows, row_ids, to_numpy(table["response_tokens"]), missing=0),
    )
