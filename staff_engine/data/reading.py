"""How a data set is read: the settings that a person chooses, and the mapping that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, Self


@dataclass(frozen=True)
class Reading:
    """The settings for reading a data set; each is a field of the plan, which has its help text."""

    format: str | None = None
    prompt_column: str | None = None
    response_column: str | None = None
    prompt_template: str | None = None
    conversation_column: str | None = None
    roles: str | None = None
    reasoning: Literal["include", "exclude"] = "include"
    bad_labels: Literal["keep", "exclude"] = "keep"
    encoding: str | None = None
    delimiter: str | None = None
    duplicates: Literal["keep", "exact", "near"] = "keep"
    apart_from: str | None = None

    @classmethod
    def of(cls, settings: Any) -> Self:
        """The settings for reading among those of a plan, or of anything that has these fields."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


DETECT = Reading()
"""Everything is detected."""


@dataclass(frozen=True)
class Mapping:
    """How the rows of one data set become turns.

    Attributes
    ----------
    format
        The record format.
    prompt_column, response_column
        The columns of a pair; None for other formats.
    template
        The prompt as a text with column names in braces, instead of `prompt_column`.
    names
        (column of the data, column of the format) where they differ, for example in upper case.
    roles
        (name in the data, role), in addition to the known names.
    messages
        Whether the columns of a pair contain lists of messages, not text.
    reasoning
        Whether the reasoning of a turn is part of its text.
    without_bad
        Whether rows with a label false are unusable.
    """

    format: str
    prompt_column: str | None = None
    response_column: str | None = None
    template: str | None = None
    names: tuple[tuple[str, str], ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    messages: bool = False
    reasoning: bool = True
    without_bad: bool = False

    @classmethod
    def load(cls, content: dict[str, Any]) -> Self:
        """A mapping from its fields in JSON, where tuples are lists."""
        pairs = {name: tuple(map(tuple, content.get(name) or ())) for name in ("names", "roles")}
        return cls(**{**content, **pairs})
