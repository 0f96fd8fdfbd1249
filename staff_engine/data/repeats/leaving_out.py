"""Which rows a run leaves out because they repeat others, each with the reason."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from staff_engine.data.detection import choose_mapping
from staff_engine.data.fetching import Fetched, fetch_lines
from staff_engine.data.files.lines import Line, parse_line, read_lines
from staff_engine.data.formats import normalise
from staff_engine.data.reading import Mapping, Reading
from staff_engine.data.repeats.near import NearDuplicates
from staff_engine.data.repeats.overlap import HeldOutWords
from staff_engine.data.repeats.words import words_of
from staff_engine.data.turns import Turn
from staff_engine.errors import DatasetError

LOOKED_AT = 100
"""Rows of the held-out file from which its format is detected."""

EXACT, NEAR, OVERLAP = (
    "exact duplicate of another row",
    "near duplicate of another row",
    "overlaps with held-out data",
)


def rows_to_leave_out(
    lines: Path, mapping: Mapping, reading: Reading, fetched: Fetched, limit: int | None = None
) -> dict[int, str]:
    """The rows that `reading` leaves out because they repeat another row or a held-out sample.

    The first of several equal rows stays, and the first of a group of near duplicates: rows that are
    connected by near duplicates belong to one group.

    Parameters
    ----------
    lines
        The rows as JSON lines.
    limit
        Maximum number of rows to read.

    Returns
    -------
    dict
        Line number → reason; empty unless `reading` asks for it.

    Raises
    ------
    DatasetError
        If the held-out file cannot be read.
    """
    if reading.duplicates == "keep" and reading.apart_from is None:
        return {}
    left_out: dict[int, str] = {}
    held_out = _held_out_words(reading) if reading.apart_from else None
    numbers, starts, digests = array("q"), array("q"), array("Q")
    with ExitStack() as stack:
        file = stack.enter_context(lines.open("rb"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="staff-")))
        near = None
        if reading.duplicates == "near":
            near = NearDuplicates(folder, lambda index: words_of(_turns_at(file, starts[index], mapping)))
        for line in islice(read_lines(lines), limit):
            turns = _turns(line, mapping)
            if not turns:
                continue
            words = words_of(turns) if held_out or near else []
            reason = held_out.overlap(words) if held_out else None
            if reason is not None:
                left_out[line.number] = f"{OVERLAP} ({reason})"
            elif reading.duplicates != "keep":
                numbers.append(line.number)
                starts.append(line.start)
                digests.append(_digest(turns))
                if near:
                    near.add(words)
        _, first, same = np.unique(np.frombuffer(digests, np.uint64), return_index=True, return_inverse=True)
        before = first[same]  # the first row that is equal
        again = before != np.arange(len(before))
        for index in np.flatnonzero(again).tolist():
            left_out[numbers[index]] = f"{EXACT} ({fetched.place(numbers[before[index]])})"
        if near:
            group = near.groups(~again)
            for index in np.flatnonzero(~again & (group != np.arange(len(group)))).tolist():
                place = fetched.place(numbers[group[index]])
                similarity = near.similarity(int(group[index]), index)
                left_out[numbers[index]] = f"{NEAR} ({place}, similarity {similarity:.2f})"
    return left_out


def _held_out_words(reading: Reading) -> HeldOutWords:
    source = str(reading.apart_from)
    with tempfile.TemporaryDirectory(prefix="staff-") as folder:
        lines = Path(folder) / "held-out.jsonl"
        try:
            fetch_lines(source, lines, "train", None, reading)
            rows = [parse_line(line) for line in islice(read_lines(lines), LOOKED_AT)]
            mapping = choose_mapping(rows)
        except DatasetError as error:
            raise DatasetError(f"held-out data: {error}") from None
        return HeldOutWords(words_of(turns) for turns in _all_turns(lines, mapping))


def _all_turns(lines: Path, mapping: Mapping) -> Iterator[list[Turn]]:
    """The turns of every row; none for a row that cannot be used."""
    for line in read_lines(lines):
        yield _turns(line, mapping)


def _turns(line: Line, mapping: Mapping) -> list[Turn]:
    try:
        return normalise(parse_line(line), mapping)
    except DatasetError:
        return []


def _turns_at(file: BinaryIO, start: int, mapping: Mapping) -> list[Turn]:
    file.seek(start)
    text = file.readline().rstrip(b"\r\n")
    return _turns(Line(0, 0, len(text), text), mapping)


def _digest(turns: list[Turn]) -> int:
    """A 64-bit digest of roles and texts."""
    parts = "".join(f"{turn['role']} {len(turn['content'])} {turn['content']}" for turn in turns)
    return int.from_bytes(blake2b(parts.encode(), digest_size=8).digest(), "little")
