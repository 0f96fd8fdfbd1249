"""Variants of a built-in task with faults made on purpose, so that a selection has something to find."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from urllib.parse import parse_qsl

from staff_engine.errors import DatasetError

Row = dict[str, str]

KIND = "_kind"
"""The field of a row that says what was done to it."""

CLEAN, SWAPPED, DUPLICATE, RARE = "clean", "swapped", "duplicate", "rare"

COPIES = 8
"""Number of times that a repeated row occurs."""

LEFT_OF_RARE = 0.1
"""Fraction of its rows that a rare group keeps."""


@dataclass(frozen=True)
class Variant:
    """What is done to the rows of a task, in this order: thin out groups, swap responses, repeat rows."""

    rare: float = 0.0
    """Fraction of the groups (kinds, categories) that keep a tenth of their rows."""
    swapped: float = 0.0
    """Fraction of the rows that get the response of another such row."""
    duplicates: float = 0.0
    """Fraction of the rows that occur eight times."""
    seed: int = 0

    @property
    def changes(self) -> bool:
        """Whether anything is done."""
        return self != Variant(seed=self.seed)


def parse_variant(source: str, query: str, *, grouped: bool) -> Variant:
    """Parse what follows the `?` of a name such as `builtin:kazakh?swapped=0.25&duplicates=0.05`.

    Parameters
    ----------
    source
        The whole name, for messages.
    grouped
        Whether the rows of the task are in groups; `rare` needs them.

    Raises
    ------
    DatasetError
        If an option is unknown or given twice, or its value is out of range.
    """
    options = [field.name for field in fields(Variant)]
    found: dict[str, float | int] = {}
    for name, text in parse_qsl(query, keep_blank_values=True) if query else []:
        if name not in options:
            raise DatasetError(f"unknown option {name!r} in {source!r}; allowed: {', '.join(options)}")
        if name in found:
            raise DatasetError(f"option {name!r} occurs twice in {source!r}; give it once")
        found[name] = _seed(source, text) if name == "seed" else _share(source, name, text)
    variant = Variant(**found)  # type: ignore[arg-type]
    if variant.rare and not grouped:
        raise DatasetError(f"{source!r} has no groups of rows; allowed options: swapped, duplicates, seed")
    return variant


def _share(source: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise DatasetError(f"{name} is {text!r} in {source!r}; allowed: 0 or more and less than 1")
    return value


def _seed(source: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) >= 2**32:
        raise DatasetError(f"seed is {text!r} in {source!r}; allowed: a whole number from 0 to {2**32 - 1}")
    return int(text)


def varied(rows: list[Row], variant: Variant, *, group: str | None = None) -> Iterator[Row]:
    """The rows of a variant, each with its kind in `_kind`, in an order that the seed decides.

    A row keeps its text except for a swapped response. All draws are by a hash of the seed and the
    prompt, so they do not depend on the order of the rows.

    Parameters
    ----------
    rows
        The rows of one split of a task: prompt, response and further fields.
    group
        The field that names a row's group, for `rare`.
    """
    kinds = dict.fromkeys(range(len(rows)), CLEAN)
    if variant.rare:
        assert group is not None
        rows, kinds = _thinned(rows, variant, group)
    order = _drawn(rows, variant.seed, "swap")
    responses = [row["response"] for row in rows]
    for index, other in _partners(order[: round(variant.swapped * len(rows))], responses[:]):
        kinds[index] = SWAPPED
        responses[index] = rows[other]["response"]
    made = [{**row, "response": responses[index], KIND: kinds[index]} for index, row in enumerate(rows)]
    repeated = _drawn(rows, variant.seed, "repeat")[: round(variant.duplicates * len(rows))]
    copies = [{**made[index], KIND: DUPLICATE} for index in repeated]
    every = [(row, 0) for row in made] + [(row, copy) for row in copies for copy in range(1, COPIES)]
    every.sort(key=lambda each: _hash(variant.seed, "order", *_texts(each[0]), str(each[1])))
    yield from (row for row, _ in every)


def _thinned(rows: list[Row], variant: Variant, group: str) -> tuple[list[Row], dict[int, str]]:
    """The rows without nine of ten rows of the rare groups, and the kind of each that is left."""
    groups = sorted(Counter(row[group] for row in rows))
    chosen = sorted(groups, key=lambda name: _hash(variant.seed, "rare", name))
    rare = set(chosen[: round(variant.rare * len(groups))])
    by_group: dict[str, list[int]] = {name: [] for name in rare}
    for index in _drawn(rows, variant.seed, "thin"):
        if rows[index][group] in rare:
            by_group[rows[index][group]].append(index)
    left = {index for own in by_group.values() for index in own[: max(1, round(LEFT_OF_RARE * len(own)))]}
    kept = [index for index, row in enumerate(rows) if row[group] not in rare or index in left]
    return (
        [rows[index] for index in kept],
        {new: RARE if old in left else CLEAN for new, old in enumerate(kept)},
    )


def _partners(chosen: list[int], responses: list[str]) -> Iterator[tuple[int, int]]:
    """Pairs of row and row whose response it gets: the next one in the list with another response."""
    for position, index in enumerate(chosen):
        following = chosen[position + 1 :] + chosen[:position]
        other = next((other for other in following if responses[other] != responses[index]), None)
        if other is not None:
            yield index, other


def _drawn(rows: list[Row], seed: int, purpose: str) -> list[int]:
    """All indices in a pseudo-random order, which does not depend on the order of the rows."""
    return sorted(range(len(rows)), key=lambda index: _hash(seed, purpose, *_texts(rows[index])))


def _texts(row: Row) -> tuple[str, str]:
    return row["prompt"], row["response"]


def _hash(seed: int, purpose: str, *texts: str) -> bytes:
    return hashlib.sha256("\x00".join([str(seed), purpose, *texts]).encode("utf-8")).digest()
