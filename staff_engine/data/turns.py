"""The row of a file → turns, for each way in which a record format names the roles."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from staff_engine.errors import DatasetError

Turn = dict[str, str]
"""role (system, user, assistant or tool) and content."""

Row = dict[str, Any]

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
"""A role's name in records, in lower case → the role."""

ENTRY_NAMES = (("role", "content"), ("from", "value"))
"""Field names of role and text in a conversation entry; both pairs are accepted in both formats."""

SHOWN = 300
"""Maximum characters of a file's text in an error."""


def read_pair(row: Row, columns: Sequence[str]) -> list[Turn]:
    """A prompt and its response, in two columns; and `system` if the row has it. Raises DatasetError."""
    prompt, response = columns
    return [*_system(row), _turn("user", _prompt(row, prompt)), _turn("assistant", _text(row, response))]


def read_alpaca(row: Row, columns: Sequence[str]) -> list[Turn]:
    """Instruction and input as one prompt, after the system prompt and the history. Raises DatasetError."""
    instruction, output = columns
    prompt = _prompt(row, instruction)
    more = _text(row, "input")
    if more:
        prompt = f"{prompt}\n\n{more}"
    turns = _system(row)
    for pair in _entries(row.get("history") or [], "history"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise DatasetError("'history' must be a list of pairs of prompt and response")
        turns += [_turn("user", _scalar(pair[0], "history")), _turn("assistant", _scalar(pair[1], "history"))]
    return [*turns, _turn("user", prompt), _turn("assistant", _text(row, output))]


def read_messages(row: Row, columns: Sequence[str]) -> list[Turn]:
    """A list of entries, usually with role and content. Raises DatasetError."""
    return _conversation(row, columns, "role")


def read_sharegpt(row: Row, columns: Sequence[str]) -> list[Turn]:
    """A list of entries, usually with from and value, after `system`. Raises DatasetError."""
    turns = _conversation(row, columns, "from")
    return [*_system(row), *turns]


def _conversation(row: Row, columns: Sequence[str], speaker: str) -> list[Turn]:
    """The entries of a list; an error names `speaker` as the missing field."""
    (column,) = columns
    return [_turn_of(entry, column, speaker) for entry in _entries(row[column], column)]


def _system(row: Row) -> list[Turn]:
    text = _text(row, "system")
    return [_turn("system", text)] if text else []


def _turn_of(item: Any, where: str, expected: str) -> Turn:
    names = next((n for n in ENTRY_NAMES if isinstance(item, dict) and n[0] in item), None)
    if names is None:
        raise DatasetError(f"an entry of {where!r} has no {expected!r}")
    speaker, text = names
    role = ROLES.get(str(item[speaker]).lower())
    if role is None:
        raise DatasetError(f"{speaker} is {shown(str(item[speaker]))!r}; allowed: {', '.join(ROLES)}")
    content, calls = _content(item.get(text), text), _calls(item)
    if item.get(text) is None and not calls:
        raise DatasetError(f"an entry of {where!r} has no {text!r}")
    return _turn(role, "\n".join(part for part in (content, calls) if part))


def _content(value: Any, name: str) -> str:
    """Text, or the text parts of a list of parts."""
    if not isinstance(value, list):
        return _scalar(value, name)
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value):
        raise DatasetError(f"{name!r} has a part that is not text")
    return "".join(part["text"] for part in value)


def _calls(message: Row) -> str:
    """The tool calls of a message as a JSON array of functions: they are the model's response there."""
    calls = message.get("tool_calls") or message.get("function_call")
    if not calls:
        return ""
    listed = calls if isinstance(calls, list) else [calls]
    functions = [call.get("function", call) if isinstance(call, dict) else call for call in listed]
    return json.dumps(functions, ensure_ascii=False)


def _entries(value: Any, name: str) -> list[Any]:
    """A list; in a CSV file it is JSON text."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{name!r} is text, but not a JSON list ({error})") from None
    if not isinstance(value, list):
        raise DatasetError(f"{name!r} is {_kind(value)}, should be a list")
    return value


def _prompt(row: Row, name: str) -> str:
    """A prompt may be empty, but not missing: a missing prompt would make the sample look hard."""
    if _is_missing(row[name]):
        raise DatasetError(f"{name!r} is null, should be text")
    return _text(row, name)


def _text(row: Row, name: str) -> str:
    return _scalar(row.get(name), name)


def _scalar(value: Any, name: str) -> str:
    """Text unchanged; numbers and booleans, which are common as answers, as JSON; null as empty text."""
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


def shown(text: str) -> str:
    """A file's text for an error message: truncated, with unpaired surrogates escaped."""
    short = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return short.encode("utf-8", "backslashreplace").decode("utf-8")
