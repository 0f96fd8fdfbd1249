"""Columns of made-up scores, for the figures of the Scores page, and the names of what a figure draws."""

import numpy as np

from staff_engine.samples.columns import SampleColumns


def made(rows=300, verified=60, *, small=None, target=None, seed=0):
    """Columns with lognormal scores; the first `verified` rows have one on the target too."""
    rng = np.random.default_rng(seed)
    small = rng.lognormal(size=rows) if small is None else np.asarray(small, dtype=float)
    rows = len(small)
    if target is None:
        target = np.where(np.arange(rows) < verified, 3 * small * rng.lognormal(0, 0.3, rows), np.nan)
    return SampleColumns(
        speculative=small,
        loss=np.log1p(small),
        verification=np.asarray(target, dtype=float),
        strata=np.zeros(rows, dtype=np.int32),
        kept=np.zeros(rows, dtype=bool),
        unscorable={},
        duplicates=np.zeros((0, 2), dtype=np.int64),
        prompt_tokens=np.ones(rows, dtype=np.int64),
        response_tokens=rng.integers(1, 50, rows),
    )


def names(figure):
    return [trace.name for trace in figure.data]
