"""What a person should know about how rows are read: what is not read, and what is read in a special way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from staff_engine.data.files.lines import Line, parse_line
from staff_engine.data.formats import find_format, needed_columns, normalise, read_columns, renamed
from staff_engine.data.reading import Mapping
from staff_engine.data.texts import Row, quoted
from staff_engine.data.turns import (
    READ_FIELDS,
    REASONING,
    Turn,
    is_marked_bad,
    is_messages,
    is_trained,
    role_of,
)
from staff_engine.errors import DatasetError
from staff_engine.system.words import counted

MEDIA = ("image", "images", "video", "videos", "audio", "audios")
"""Columns with pictures, films and sounds, which a text model does not read."""

FEWEST = 2
"""Usable rows that a run needs."""


class Tally:
    """Counts over the rows of a data set that are read with one mapping."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._read = read_columns(mapping)
        self._fields = READ_FIELDS | ({*REASONING} if mapping.reasoning else set())
        self._columns: Counter[str] = Counter()
        self._entry_fields: Counter[str] = Counter()
        self._twice: Counter[str] = Counter()
        self._rows_with: Counter[str] = Counter()
        self._usable = 0

    def parse(self, line: Line) -> Row:
        """The object in a line, as `parse_line`, counting keys that occur twice. Raises DatasetError."""
        twice: set[str] = set()

        def made(pairs: list[tuple[str, Any]]) -> Row:
            row = dict(pairs)
            if len(row) < len(pairs):
                counts = Counter(name for name, _ in pairs)
                twice.update(name for name, count in counts.items() if count > 1)
            return row

        row = parse_line(line, made)
        self._twice.update(twice)
        self._rows_with["twice"] += bool(twice)
        return row

    def count(self, row: Row, turns: list[Turn]) -> None:
        """Count a usable row."""
        self._usable += 1
        self._columns.update(name for name in row if name not in self._read)
        row = renamed(row, self._mapping)
        entries = list(_entries(row, self._mapping))
        self._entry_fields.update({name for entry in entries for name in entry if name not in self._fields})
        answers = [entry for entry in entries if any(name in entry for name in REASONING)]
        self._rows_with["reasoning"] += bool(answers)
        untrained = sum(
            role_of(entry, self._mapping) == "assistant" and not is_trained(entry) for entry in entries
        )
        self._rows_with["untrained"] += bool(untrained)
        self._rows_with["untrained turns"] += untrained
        self._rows_with["bad"] += is_marked_bad(row, self._mapping)
        self._rows_with.update(name for name in MEDIA if row.get(name))

    @property
    def usable(self) -> int:
        """Number of usable rows."""
        return self._usable

    @property
    def not_read(self) -> dict[str, int]:
        """Columns, and fields of turns, that are not read → the number of usable rows that have them."""
        fields = {f"{name} of a turn": count for name, count in self._entry_fields.most_common()}
        return dict(self._columns.most_common()) | fields

    def notes(self) -> tuple[str, ...]:
        """Sentences about what is read in a special way."""
        notes = []
        rows = self._rows_with
        if find_format(self._mapping.format).name == "preference":
            notes.append("preference data: the response is 'chosen'; 'rejected' is not read")
        if rows["bad"]:
            notes.append(
                f"{counted(rows['bad'], 'row')} with a label false: the response is marked as bad; "
                "leave such rows out with --bad-labels exclude"
            )
        if rows["untrained"]:
            turns = counted(rows["untrained turns"], "response")
            notes.append(f"{turns} in {counted(rows['untrained'], 'row')} left out of the loss: weight 0")
        if rows["reasoning"]:
            how = (
                "is part of the response (leave it out with --reasoning exclude)"
                if self._mapping.reasoning
                else "is left out of the response (--reasoning exclude)"
            )
            notes.append(f"the reasoning in {counted(rows['reasoning'], 'row')} {how}")
        media = [name for name in MEDIA if rows[name]]
        if media:
            notes.append(f"samples are scored without their {' and '.join(media)}")
        if rows["twice"]:
            notes.append(
                f"{counted(rows['twice'], 'row')} with the same key twice ({quoted(self._twice)}): "
                "the last value is used"
            )
        if 0 < self._usable < FEWEST:
            notes.append(f"{counted(self._usable, 'usable row')}; a run needs at least {FEWEST}")
        return tuple(notes)


def tally_of(lines: Iterable[Line], mapping: Mapping) -> Tally:
    """The tally of some lines; those that cannot be used are left out."""
    tally = Tally(mapping)
    for line in lines:
        try:
            row = tally.parse(line)
            tally.count(row, normalise(row, mapping))
        except DatasetError:
            continue
    return tally


def _entries(row: Row, mapping: Mapping) -> Any:
    """The conversation entries of a row, in all columns that are read."""
    for name in (*needed_columns(mapping), *find_format(mapping.format).optional):
        value = row.get(name)
        if isinstance(value, list | dict) and is_messages(value):
            yield from value if isinstance(value, list) else [value]
