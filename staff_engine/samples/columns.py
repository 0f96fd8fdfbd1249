"""What is known of every imported row under a selection, as columns that filters and tables read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.samples.decisions import Decisions, decide
from staff_engine.scoring.parts import read_parts
from staff_engine.system.arrow import to_numpy

if TYPE_CHECKING:
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection


@dataclass(frozen=True)
class SampleColumns(Decisions):
    """The decisions on all rows, and how long each is; every array is (rows,), by row id."""

    prompt_tokens: np.ndarray
    """int64: tokens of the prompt, for the small model; 0 where the row is unscorable."""
    response_tokens: np.ndarray
    """int64: tokens of the response likewise."""

    def __len__(self) -> int:
        return len(self.speculative)

    @property
    def scorable(self) -> np.ndarray:
        """bool: whether the small model gave the row a score."""
        return np.isfinite(self.speculative)

    @property
    def verified(self) -> np.ndarray:
        """bool: whether the target gave the row a score."""
        return np.isfinite(self.verification)


def sample_columns(results: Results, selection: Selection) -> SampleColumns:
    """Gather the columns of a selection from a run's results."""
    decisions = decide(results, selection)
    table = read_parts(results.folder / "speculative", ["row_id", "prompt_tokens", "response_tokens"])
    rows = to_numpy(table["row_id"])

    def placed(name: str) -> np.ndarray:
        lengths = np.zeros(results.num_rows, dtype=np.int64)
        lengths[rows] = to_numpy(table[name])
        return lengths

    return SampleColumns(
        **vars(decisions),
        prompt_tokens=placed("prompt_tokens"),
        response_tokens=placed("response_tokens"),
    )
