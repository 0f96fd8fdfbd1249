"""Columns for filters and tables: scores, lengths and decisions of every imported row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.samples.decisions import Decisions, decide

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
    return SampleColumns(
        **vars(decide(results, selection)),
        prompt_tokens=_counts(results.tokens - results.response_tokens),
        response_tokens=_counts(results.response_tokens),
    )


def _counts(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values).astype(np.int64)
