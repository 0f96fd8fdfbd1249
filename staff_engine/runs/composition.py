"""What a coreset is made of, compared with the data: response lengths, and kinds of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.data.builtin.kinds import kind_shares

if TYPE_CHECKING:
    from staff_engine.runs.results import Results


@dataclass(frozen=True)
class Lengths:
    """Response tokens of the small model's tokenizer. Selection by effort prefers short responses."""

    coreset_median: float
    """Median of the coreset's samples."""
    data_median: float
    """Median of all scorable samples."""
    tokens: int
    """Response tokens of the coreset."""
    token_share: float
    """The coreset's share of all response tokens, 0 to 1."""
    sample_share: float
    """The coreset's share of all scorable samples, 0 to 1."""

    @property
    def sentence(self) -> str:
        """The figures as text."""
        return (
            f"{self.tokens:,} response tokens: {self.token_share:.1%} of all, in {self.sample_share:.1%} of"
            f" the samples. Median length {self.coreset_median:,.0f}, in the data {self.data_median:,.0f}."
        )


def response_lengths(results: Results, indices: np.ndarray) -> Lengths:
    """Compare the response lengths of some rows with those of all scorable rows.

    Parameters
    ----------
    indices : int64 (m,)
        Row ids of a coreset; at least one.
    """
    data = results.response_tokens[np.isfinite(results.speculative)]
    coreset = results.response_tokens[indices]
    return Lengths(
        coreset_median=float(np.median(coreset)),
        data_median=float(np.median(data)),
        tokens=int(coreset.sum()),
        token_share=float(coreset.sum() / data.sum()),
        sample_share=len(coreset) / len(data),
    )


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
