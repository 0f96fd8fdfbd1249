"""The results of checking every row of a data set, as numbers that can be stored and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from pydantic.dataclasses import dataclass

from staff_engine.data.files.encodings import EXAMPLES
from staff_engine.data.reading import Reading
from staff_engine.system.words import counted

BINS = 40
"""Approximate number of bars in a histogram of lengths."""

NOT_UTF8 = "is not UTF-8 text"
"""Ends the reason of rows with bytes that are not text."""

LONG_TAIL = 15
"""If the maximum is over this multiple of the median, lengths are counted on a log scale."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True, kw_only=True)
class DataChoice(Reading):
    """What data is read, and how: the fields of a plan for data."""

    dataset: str
    split: str = "train"
    limit: int | None = None

    @property
    def changed(self) -> dict[str, str | int]:
        """The data set, and the fields that differ from a plan's defaults."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def into(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """A plan's settings, with the data settings replaced by these."""
        own = {field.name for field in fields(self)}
        return {name: value for name, value in settings.items() if name not in own} | self.changed


class Lengths(_Frozen):
    """Text lengths of the usable rows, in characters."""

    least: int
    median: float
    greatest: int
    empty: int
    log: bool  # whether the edges are on a log scale from 1; empty texts are then not in the counts
    edges: tuple[float, ...]
    counts: tuple[int, ...]  # of each [edge, next edge)


class Same(_Frozen):
    """Rows that share something: their numbers and their texts, truncated."""

    rows: int
    numbers: tuple[int, ...]  # of the first rows
    prompt: str
    responses: tuple[str, ...]  # the different ones


class Duplicates(_Frozen):
    """Groups of rows that share something, and the largest groups."""

    groups: int
    rows: int
    examples: tuple[Same, ...]

    @property
    def extra(self) -> int:
        """Number of rows without the first of each group."""
        return self.rows - self.groups


class Findings(_Frozen):
    """The results of checking all rows of a data set."""

    format: str
    prompt_column: str | None
    response_column: str | None
    unit: str  # what `numbers` count, from 1: "line" of the file, or "row"
    rows: int
    usable: int
    prompt: Lengths | None  # None if no row is usable
    response: Lengths | None
    same: Duplicates  # equal prompt and response
    conflicts: Duplicates  # equal prompts, different responses
    reasons: dict[str, int]  # why rows cannot be used → how many, the most frequent first
    places: dict[str, tuple[int, ...]] = {}  # the numbers of the first rows with each reason
    not_read: dict[str, int] = {}  # columns and turn fields that are not read → in how many rows
    notes: tuple[str, ...] = ()  # what a person should know about how the rows are read
    listed: int  # rows in problems.parquet


def in_sentences(findings: Findings) -> list[str]:
    """The results, one sentence each."""
    unit = findings.unit
    columns = f" ({findings.prompt_column} → {findings.response_column})" if findings.prompt_column else ""
    sentences = [
        f"format: {findings.format}{columns}",
        f"{counted(findings.rows, 'row')}, {findings.usable:,} usable",
    ]
    for name, lengths in (("prompt", findings.prompt), ("response", findings.response)):
        if lengths is not None:
            sentences.append(
                f"{name}: {lengths.least:,} to {lengths.greatest:,} characters, median {lengths.median:,.0f}"
            )
    sentences += [
        f"duplicates of another row: {counted(findings.same.extra, 'row')}",
        f"prompts with several different responses: {findings.conflicts.groups:,}",
    ]
    if findings.not_read:
        sentences.append(f"not read: {not_read_in_words(findings.not_read, findings.usable)}")
    sentences += findings.notes
    sentences += [
        f"{counted(count, 'row')} cannot be used: {reason}{_at(findings, reason)}"
        for reason, count in findings.reasons.items()
    ]
    if any(reason.endswith(NOT_UTF8) for reason in findings.reasons):
        sentences.append(f"give the encoding of a text file with --encoding, for example {EXAMPLES}")
    for name, duplicates in (("duplicates", findings.same), ("same prompt", findings.conflicts)):
        if duplicates.examples:
            numbers = ", ".join(f"{number:,}" for number in duplicates.examples[0].numbers)
            sentences.append(f"{name}, for example: {unit}s {numbers}")
    return sentences


def not_read_in_words(not_read: Mapping[str, int], rows: int) -> str:
    """Columns and turn fields as "label, tools (3 rows)"; the number of rows if it is not all of them."""
    return ", ".join(
        name if count == rows else f"{name} ({counted(count, 'row')})" for name, count in not_read.items()
    )


def _at(findings: Findings, reason: str) -> str:
    """The places of a reason, as " (lines 3, 9, …)"."""
    numbers = findings.places.get(reason, ())
    if not numbers:
        return ""
    more = ", …" if findings.reasons[reason] > len(numbers) else ""
    unit = findings.unit if len(numbers) == 1 else f"{findings.unit}s"
    return f" ({unit} {', '.join(f'{number:,}' for number in numbers)}{more})"


def measure(values: np.ndarray) -> Lengths | None:
    """Count lengths, int (n,), in bars of equal width, or of equal ratio if the tail is long."""
    if not len(values):
        return None
    median, greatest = float(np.median(values)), int(values.max())
    log = greatest > LONG_TAIL * max(median, 1.0)
    edges = _log_edges(greatest) if log else _even_edges(int(values.min()), greatest)
    counts, _ = np.histogram(values, edges)  # the last edge is above all values
    return Lengths(
        least=int(values.min()),
        median=median,
        greatest=greatest,
        empty=int((values == 0).sum()),
        log=log,
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def _even_edges(least: int, greatest: int) -> np.ndarray:
    """Edges at multiples of a round whole number; the last edge is above the maximum."""
    rough = max((greatest - least) / BINS, 1.0)
    power = 10.0 ** np.floor(np.log10(rough))
    steps = (1.0, 2.0, 2.5, 5.0, 10.0) if power > 1 else (1.0, 2.0, 5.0, 10.0)
    step = next(times * power for times in steps if times * power >= rough)
    first = np.floor(least / step)
    return (first + np.arange(np.floor(greatest / step) - first + 2)) * step


def _log_edges(greatest: int) -> np.ndarray:
    """Whole numbers from 1, ten for each power of ten if there are that many."""
    count = int(np.ceil(10 * np.log10(greatest + 1))) + 1
    edges: np.ndarray = np.unique(np.round(10.0 ** (np.arange(count + 1) / 10)))
    return edges[: int(np.searchsorted(edges, greatest, side="right")) + 1]
