"""Record formats: which one a file has, and how a row of it becomes turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from staff_engine.errors import DatasetError

Turn = dict[str, str]
Row = dict[str, Any]

PAIR_COLUMNS = {
    "prompt-completion": (("prompt", "completion"), ("prompt", "response")),
    "query-response": (("query", "response"),),
    "question-answer": (("question", "answer"),),
}
FORMATS = (
    "messages",
    "sharegpt",
    "prompt-completion",
    "alpaca",
    "query-response",
    "question-answer",
    "columns",
)
CONVERSATIONS = ("messages", "sharegpt")

_NAMES = {
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "chatgpt", "bing", "bard", "model", "bot", "function_call"),
    "tool": ("tool", "function", "observation"),
}
ROLES = {name: role for role, names in _NAMES.items() for name in names}
"""What records call a role, in lower case → its role."""


@dataclass(frozen=True)
class Mapping:
    """A record format and, for pairs, the columns of prompt and response."""

    format: str
    prompt_column: str | None = None
    response_column: str | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a row must have."""
        if self.format == "messages":
            return ("messages",)
        if self.format == "sharegpt":
            return ("conversations",)
        if self.format == "alpaca":
            return ("instruction", "output")
        return (self.prompt_column or "", self.response_column or "")


def _candidates() -> list[Mapping]:
    """In the order of detection."""
    pairs = {name: [Mapping(name, *columns) for columns in both] for name, both in PAIR_COLUMNS.items()}
    return [
        Mapping("messages"),
        Mapping("sharegpt"),
        *pairs["prompt-completion"],
        Mapping("alpaca"),
        *pairs["query-response"],
        *pairs["question-answer"],
    ]


def detect_format(rows: Sequence[Row]) -> Mapping:
    """The first known format whose columns stand in most of the rows.

    Raises
    ------
    DatasetError
        If no format fits; names the columns that were found.
    """
    for mapping in _candidates():
        if 2 * sum(all(name in row for name in mapping.needed) for row in rows) > len(rows):
            return mapping
    raise DatasetError(
        f"no record format is recognised in the columns {_columns(rows)}; "
        "give --prompt-column and --response-column"
    )


def choose_mapping(
    rows: Sequence[Row], format: str | None, prompt_column: str | None, response_column: str | None
) -> Mapping:
    """The mapping that was asked for, or the detected one.

    Raises
    ------
    DatasetError
        If the format is unknown, or none of the rows has its columns.
    """
    if format is not None and format not in FORMATS:
        raise DatasetError(f"format is {format!r}; it can be {', '.join(FORMATS)}")
    if format == "columns" and (prompt_column is None or response_column is None):
        raise DatasetError("format 'columns' needs --prompt-column and --response-column")
    if prompt_column is not None or response_column is not None:
        mapping = Mapping(format or "columns", prompt_column, response_column)
    elif format is None:
        return detect_format(rows)
    else:
        fitting = [m for m in _candidates() if m.format == format]
        mapping = next(
            (m for m in fitting if any(all(n in row for n in m.needed) for row in rows)), fitting[0]
        )
    if not any(all(name in row for name in mapping.needed) for row in rows):
        raise DatasetError(
            f"format {mapping.format!r} needs the columns {', '.join(mapping.needed)}; "
            f"found are {_columns(rows)}"
        )
    return mapping


def _columns(rows: Sequence[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row)
    return ", ".join(list(names)[:20]) or "none"


def normalise(row: Row, mapping: Mapping) -> list[Turn]:
    """The turns of a row: role system, user, assistant or tool, and content.

    Raises
    ------
    DatasetError
        With what is wrong in the row.
    """
    missing = [name for name in mapping.needed if name not in row]
    if missing:
        raise DatasetError(f"has no {missing[0]!r}")
    turns = _READERS.get(mapping.format, _pair)(row, mapping)
    if not any(turn["role"] == "assistant" and turn["content"].strip() for turn in turns):
        raise DatasetError("no response")
    return turns


def _pair(row: Row, mapping: Mapping) -> list[Turn]:
    prompt, response = (_text(row, name) for name in mapping.needed)
    system = [_turn("system", _text(row, "system"))] if row.get("system") else []
    return [*system, _turn("user", prompt), _turn("assistant", response)]


def _alpaca(row: Row, mapping: Mapping) -> list[Turn]:
    prompt = _text(row, "instruction")
    if row.get("input"):
        prompt = f"{prompt}\n\n{_text(row, 'input')}"
    turns = [_turn("system", _text(row, "system"))] if row.get("system") else []
    for pair in row.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise DatasetError("'history' is to be a list of pairs of prompt and response")
        turns += [_turn("user", _scalar(pair[0], "history")), _turn("assistant", _scalar(pair[1], "history"))]
    return [*turns, _turn("user", prompt), _turn("assistant", _text(row, "output"))]


def _messages(row: Row, mapping: Mapping) -> list[Turn]:
    return [_message(item, "role", "content", "messages") for item in _list(row, "messages")]


def _sharegpt(row: Row, mapping: Mapping) -> list[Turn]:
    turns = [_message(item, "from", "value", "conversations") for item in _list(row, "conversations")]
    return [_turn("system", _text(row, "system")), *turns] if row.get("system") else turns


_READERS: dict[str, Callable[[Row, Mapping], list[Turn]]] = {
    "alpaca": _alpaca,
    "messages": _messages,
    "sharegpt": _sharegpt,
}


def _message(item: Any, role_name: str, content_name: str, where: str) -> Turn:
    if not isinstance(item, dict) or role_name not in item:
        raise DatasetError(f"an entry of {where!r} has no {role_name!r}")
    role = ROLES.get(str(item[role_name]).lower())
    if role is None:
        raise DatasetError(f"{role_name} is {item[role_name]!r}; known are {', '.join(ROLES)}")
    return _turn(role, _content(item.get(content_name), content_name))


def _content(value: Any, name: str) -> str:
    """Text, or the text parts of a list of parts; null, as beside tool calls, is empty."""
    if value is None:
        return ""
    if isinstance(value, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value):
            raise DatasetError(f"{name!r} has a part that is no text")
        return "".join(part["text"] for part in value)
    return _scalar(value, name)


def _list(row: Row, name: str) -> list[Any]:
    if not isinstance(row[name], list):
        raise DatasetError(f"{name!r} is {_kind(row[name])}, should be a list")
    return row[name]


def _text(row: Row, name: str) -> str:
    return _scalar(row[name], name)


def _scalar(value: Any, name: str) -> str:
    """Text as it is; numbers and truth values, as answers often are, in JSON's spelling."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise DatasetError(f"{name!r} is {_kind(value)}, should be text")


def _kind(value: Any) -> str:
    return {list: "a list", dict: "an object", str: "text", type(None): "null"}.get(type(value), "a number")


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}
