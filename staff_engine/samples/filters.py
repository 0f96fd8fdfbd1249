"""A filter of samples: as words, as link parameters and as a mask."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.errors import PlanError, shortened
from staff_engine.plan import MOST_STRATA
from staff_engine.selection.strata import NO_SCORE
from staff_engine.system.words import noun

if TYPE_CHECKING:
    from staff_engine.samples.columns import SampleColumns

Range = tuple[float, float]

LAST_STRATUM = MOST_STRATA - 1

_Values = Callable[["SampleColumns", "np.ndarray | None"], np.ndarray]
"""The values that a range applies to, float (rows,), from the columns and the map coordinates."""


def _on_map(axis: int) -> _Values:
    def values(columns: SampleColumns, coordinates: np.ndarray | None) -> np.ndarray:
        if coordinates is None:
            raise TypeError("a filter by map position needs the map coordinates")
        return coordinates[:, axis]

    return values


_RANGES: dict[str, tuple[str, _Values]] = {
    "score": ("score on the small model", lambda columns, _: columns.speculative),
    "verification": ("score on the target", lambda columns, _: columns.verification),
    "loss": ("loss", lambda columns, _: columns.loss),
    "tokens": ("response tokens", lambda columns, _: columns.response_tokens),
    "map_x": ("map x", _on_map(0)),
    "map_y": ("map y", _on_map(1)),
}
"""Parts that are a range: their name, and the values that they compare."""

_CHOICES = {
    "kept": ("kept", "not kept"),
    "verified": ("verified on the target", "not verified"),
    "scorable": ("with a score", "without a score"),
}
"""Parts that are yes or no, each a column with that name: their words for yes and for no."""


@dataclass(frozen=True)
class Filter:
    """A sample passes if it passes every part that is set. Ranges include both ends."""

    strata: tuple[int, ...] = ()
    score: Range | None = None
    verification: Range | None = None
    loss: Range | None = None
    tokens: Range | None = None
    map_x: Range | None = None
    map_y: Range | None = None
    kept: bool | None = None
    verified: bool | None = None
    scorable: bool | None = None
    text: str = ""

    def but(self, **changes: Any) -> Filter:
        """Return the filter with some parts changed."""
        return replace(self, **changes)

    def without(self, name: str) -> Filter:
        """Return the filter without one part."""
        return replace(self, **{name: getattr(Filter(), name)})

    @property
    def empty(self) -> bool:
        """Whether every sample passes."""
        return self == Filter()

    def words(self) -> list[tuple[str, str]]:
        """The parts that are set: the name and the description of each."""
        parts = []
        if self.strata:
            parts.append(("strata", f"{noun(len(self.strata), 'stratum', 'strata')} {_runs(self.strata)}"))
        for name, (what, _) in _RANGES.items():
            bounds = getattr(self, name)
            if bounds is not None:
                parts.append((name, f"{what} {_number(bounds[0])} to {_number(bounds[1])}"))
        for name, (yes, no) in _CHOICES.items():
            choice = getattr(self, name)
            if choice is not None:
                parts.append((name, yes if choice else no))
        if self.text:
            parts.append(("text", f"text contains “{self.text}”"))
        return parts

    def to_query(self) -> dict[str, str]:
        """The parts that are set, as link parameters."""
        query = {}
        if self.strata:
            query["strata_in"] = _runs(self.strata)
        for name in _RANGES:
            bounds = getattr(self, name)
            if bounds is not None:
                query[f"{name}_in"] = f"{bounds[0]:.9g}..{bounds[1]:.9g}"
        for name in _CHOICES:
            choice = getattr(self, name)
            if choice is not None:
                query[name] = "yes" if choice else "no"
        if self.text:
            query["text"] = self.text
        return query

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Filter:
        """Read the parameters that `to_query` writes; ignore others.

        Raises
        ------
        PlanError
            If a value is invalid. The message contains the value and what is allowed.
        """
        parts: dict[str, Any] = {}
        if "strata_in" in query:
            parts["strata"] = _read_strata(query["strata_in"])
        for name in _RANGES:
            if f"{name}_in" in query:
                parts[name] = _read_range(f"{name}_in", query[f"{name}_in"])
        for name in _CHOICES:
            if name in query:
                if query[name] not in ("yes", "no"):
                    raise PlanError(f"{name} is {shortened(query[name])}; allowed: yes, no")
                parts[name] = query[name] == "yes"
        return cls(**parts, text=query.get("text", ""))

    def mask(self, columns: SampleColumns, coordinates: np.ndarray | None = None) -> np.ndarray:
        """Which rows pass, bool (rows,), by all parts except the text, which needs the rows' texts.

        Parameters
        ----------
        coordinates
            float (rows, 2): each row's position on the map, NaN for rows without one. Needed
            only if `map_x` or `map_y` is set.

        Raises
        ------
        TypeError
            If `map_x` or `map_y` is set and there are no coordinates.
        """
        mask = np.ones(len(columns), dtype=bool)
        if self.strata:
            mask &= np.isin(columns.strata, self.strata)
        for name, (_, values) in _RANGES.items():
            bounds = getattr(self, name)
            if bounds is not None:
                of_rows = values(columns, coordinates)
                mask &= (of_rows >= bounds[0]) & (of_rows <= bounds[1])
        for name in _CHOICES:
            choice = getattr(self, name)
            if choice is not None:
                mask &= getattr(columns, name) == choice
        return mask


QUERY_NAMES = frozenset({f.name if f.name in (*_CHOICES, "text") else f"{f.name}_in" for f in fields(Filter)})
"""Every link parameter of a filter."""


def _runs(numbers: tuple[int, ...]) -> str:
    """Numbers as "1,4-7", with consecutive numbers as a range."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _read_strata(text: str) -> tuple[int, ...]:
    chosen = np.zeros(LAST_STRATUM - NO_SCORE + 1, dtype=bool)
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d{1,5})(?:-(\d{1,5}))?\s*", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not NO_SCORE <= low <= high <= LAST_STRATUM:
            raise PlanError(
                f"strata_in is {shortened(text)}; allowed: numbers and ranges, up to {LAST_STRATUM},"
                " for example 1,4-7"
            )
        chosen[low - NO_SCORE : high - NO_SCORE + 1] = True
    return tuple((np.flatnonzero(chosen) + NO_SCORE).tolist())


def _read_range(name: str, text: str) -> Range:
    low, dots, high = text.partition("..")
    try:
        bounds = float(low), float(high)
    except ValueError:
        dots = ""
    if not dots or not bounds[0] <= bounds[1]:
        raise PlanError(
            f"{name} is {shortened(text)}; allowed: two numbers, the smaller first, for example 1.5..2.5"
        )
    return bounds
