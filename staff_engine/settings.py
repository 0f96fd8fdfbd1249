"""What the fields of every plan have in common: how a value is checked, and what an error says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, ValidationInfo

from staff_engine.errors import PlanError, shortened

Model = TypeVar("Model", bound=BaseModel)
Share = Annotated[float, Field(ge=0.0, lt=1.0)]

LONGEST_PATH, LONGEST_FILE_NAME = 4096, 255
"""Bytes of a path, and of each name in it, that Linux and macOS allow."""


def made(kind: type[Model], settings: Mapping[str, object]) -> Model:
    """Build a plan of that kind. Raises PlanError, which names the setting, its value and what is allowed."""
    try:
        return kind.model_validate(dict(settings))
    except ValidationError as error:
        raise PlanError("; ".join(_sentence(each, kind) for each in error.errors())) from None


def _sentence(error: Any, kind: type[BaseModel]) -> str:
    name = ".".join(map(str, error["loc"])) or "plan"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "extra_forbidden":
        return f"unknown setting {name!r}; the settings are {', '.join(kind.model_fields)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{name} is {shortened(error['input'])}: {error['msg'][0].lower()}{error['msg'][1:]}"


def usable_text(text: str, info: ValidationInfo) -> str:
    """A text that a file can contain. Raises ValueError."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{info.field_name} is {shortened(text)}: it has characters that no text can have")
    if len(text) > LONGEST_PATH:
        raise ValueError(
            f"{info.field_name} is {shortened(text)}; allowed: up to {LONGEST_PATH:,} characters"
        )
    return text


def usable_path(text: str, info: ValidationInfo) -> str:
    """A name that can be a path. Raises ValueError."""
    usable_text(text, info)
    longest = max(len(os.fsencode(name)) for name in text.split("/"))
    if longest > LONGEST_FILE_NAME or len(os.fsencode(text)) > LONGEST_PATH:
        raise ValueError(
            f"{info.field_name} is {shortened(text)}: too long; allowed: a path of up to"
            f" {LONGEST_PATH:,} bytes, and up to {LONGEST_FILE_NAME} for each name in it"
        )
    return text
