"""Record formats: which one a file has, and how a row of it becomes turns."""

from __future__ import annotations

import json
import math
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
    "assistant": (
        "assistant",
        "gpt",
        "chatgpt",
        "bing",
        "bard",
        "model",
        "bot",
        "function_call",
        "tool_call",
    ),
    "tool": ("tool", "function", "observation", "tool_response", "function_response", "ipython"),
}
ROLES = {name: role for role, names in _NAMES.items() for name in names}
"""What records call a role, in lower case → its role."""

ENTRY_NAMES = (("role", "content"), ("from", "value"))
"""What an entry of a conversation calls the speaker and the text; either stands in either format."""

SHOWN = 300
"""Most characters of a file's own text in an error."""


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
        If no format fits more than half of the rows; names those that fit some, or the
        columns that were found.
    """
    found: dict[str, int] = {}
    for mapping in _candidates():
        fitting = sum(_fits(row, mapping) for row in rows)
        if 2 * fitting > len(rows):
            return mapping
        if fitting:
            found[mapping.format] = max(fitting, found.get(mapping.format, 0))
    if found:
        counts = ", ".join(f"{count} as {name}" for name, count in found.items())
        raise DatasetError(
            f"no record format fits most of the first {len(rows)} rows ({counts}); choose one with --format"
        )
    raise DatasetError(
        f"no record format is recognised in the columns {_columns(rows)}; "
        "give --prompt-column and --response-column"
    )


def _fits(row: Row, mapping: Mapping) -> bool:
    return all(name in row for name in mapping.needed)


def choose_mapping(
    rows: Sequence[Row], format: str | None, prompt_column: str | None, response_column: str | None
) -> Mapping:
    """The mapping that was asked for, or the detected one.

    Raises
    ------
    DatasetError
        If the format is unknown, does not go with the columns given, or none of the rows
        has its columns.
    """
    if format is not None and format not in FORMATS:
        raise DatasetError(f"format is {format!r}; it can be {', '.join(FORMATS)}")
    if format == "columns" and (prompt_column is None or response_column is None):
        raise DatasetError("format 'columns' needs --prompt-column and --response-column")
    if (prompt_column is None) != (response_column is None):
        raise DatasetError("--prompt-column and --response-column are given together or not at all")
    if prompt_column is not None and format in (*CONVERSATIONS, "alpaca"):
        raise DatasetError(f"format {format!r} has columns of its own; --prompt-column goes with 'columns'")
    if prompt_column is not None:
        mapping = Mapping(format or "columns", prompt_column, response_column)
    elif format is None:
        return detect_format(rows)
    else:
        named = [m for m in _candidates() if m.format == format]
        mapping = next((m for m in named if any(_fits(row, m) for row in rows)), named[0])
    if not any(_fits(row, mapping) for row in rows):
        raise DatasetError(
            f"format {mapping.format!r} needs the columns {', '.join(mapping.needed)}; "
            f"found are {_columns(rows)}"
        )
    return mapping


def _columns(rows: Sequence[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row)
    return _shown(", ".join(list(names)[:20])) or "none"


def _shown(text: str) -> str:
    """A file's own text as an error can show it: not endless, and no half characters."""
    short = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return short.encode("utf-8", "backslashreplace").decode("utf-8")


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
    prompt, response = mapping.needed
    return [*_system(row), _turn("user", _prompt(row, prompt)), _turn("assistant", _text(row, response))]


def _alpaca(row: Row, mapping: Mapping) -> list[Turn]:
    prompt = _prompt(row, "instruction")
    more = _text(row, "input")
    if more:
        prompt = f"{prompt}\n\n{more}"
    turns = _system(row)
    for pair in _entries(row.get("history") or [], "history"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise DatasetError("'history' is to be a list of pairs of prompt and response")
        turns += [_turn("user", _scalar(pair[0], "history")), _turn("assistant", _scalar(pair[1], "history"))]
    return [*turns, _turn("user", prompt), _turn("assistant", _text(row, "output"))]


def _messages(row: Row, mapping: Mapping) -> list[Turn]:
    return [_message(item, "messages") for item in _entries(row["messages"], "messages")]


def _sharegpt(row: Row, mapping: Mapping) -> list[Turn]:
    turns = [_message(item, "conversations") for item in _entries(row["conversations"], "conversations")]
    return [*_system(row), *turns]


_READERS: dict[str, Callable[[Row, Mapping], list[Turn]]] = {
    "alpaca": _alpaca,
    "messages": _messages,
    "sharegpt": _sharegpt,
}


def _system(row: Row) -> list[Turn]:
    text = _text(row, "system")
    return [_turn("system", text)] if text else []


def _message(item: Any, where: str) -> Turn:
    names = next((n for n in ENTRY_NAMES if isinstance(item, dict) and n[0] in item), None)
    if names is None:
        raise DatasetError(f"an entry of {where!r} has no {ENTRY_NAMES[where == 'conversations'][0]!r}")
    speaker, text = names
    role = ROLES.get(str(item[speaker]).lower())
    if role is None:
        raise DatasetError(f"{speaker} is {_shown(str(item[speaker]))!r}; known are {', '.join(ROLES)}")
    content, calls = _content(item.get(text), text), _calls(item)
    if item.get(text) is None and not calls:
        raise DatasetError(f"an entry of {where!r} has no {text!r}")
    return _turn(role, "\n".join(part for part in (content, calls) if part))


def _content(value: Any, name: str) -> str:
    """Text, or the text parts of a list of parts."""
    if not isinstance(value, list):
        return _scalar(value, name)
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value):
        raise DatasetError(f"{name!r} has a part that is no text")
    return "".join(part["text"] for part in value)


def _calls(message: Row) -> str:
    """The tool calls of a message as a JSON array of functions, since they are what a model answers there."""
    calls = message.get("tool_calls") or message.get("function_call")
    if not calls:
        return ""
    listed = calls if isinstance(calls, list) else [calls]
    functions = [call.get("function", call) if isinstance(call, dict) else call for call in listed]
    return json.dumps(functions, ensure_ascii=False)


def _entries(value: Any, name: str) -> list[Any]:
    """A list; in a CSV file it is JSON in a text."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{name!r} is text that is no JSON list ({error})") from None
    if not isinstance(value, list):
        raise DatasetError(f"{name!r} is {_kind(value)}, should be a list")
    return value


def _prompt(row: Row, name: str) -> str:
    """An empty prompt is one; a missing value is not, or the sample would pass for a hard one."""
    if _is_missing(row[name]):
        raise DatasetError(f"{name!r} is null, should be text")
    return _text(row, name)


def _text(row: Row, name: str) -> str:
    return _scalar(row.get(name), name)


def _scalar(value: Any, name: str) -> str:
    """Text as it is; numbers and truth values, as answers often are, in JSON's spelling; nothing for null."""
    if isinstance(value, str):
        return value
    if _is_missing(value):
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise DatasetError(f"{name!r} is {_kind(value)}, should be text")


def _is_missing(value: Any) -> bool:
    """Null, or the NaN that data frames write for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _kind(value: Any) -> str:
    return {list: "a list", dict: "an object", str: "text", type(None): "null"}.get(type(value), "a number")


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}
