"""Blocks of samples: arrays are processed piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

BLOCK = 2**15
"""Samples that are processed at a time. Their arrays stay in the processor's cache, which is several
times as fast as reading all of memory for each step."""


def blocks(count: int) -> Iterator[slice]:
    """Slices of at most `BLOCK` elements that cover `count` elements."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))
