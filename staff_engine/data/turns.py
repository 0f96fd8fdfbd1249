"""The row of a file → turns, for each way in which a record format names the roles."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from staff_engine.data.reading import Mapping
from staff_engine.data.texts import (
    Row,
    compile_template,
    fill_template,
    is_missing,
    kind_of_value,
    quoted,
    shown,
    text_of,
)
from staff_engine.errors import DatasetError

Turn = dict[str, Any]
"""role (system, user, assistant or tool) and content; `trained` is False for an assistant turn that is
left out of the loss; `call` is True for a turn that consists of tool calls."""

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

CALL_ROLES = ("function_call", "tool_call")
"""Names of the assistant's role in a turn that consists of tool calls."""

SPEAKERS = ("role", "from", "speaker")
TEXTS = ("content", "value", "text")
"""Field names of role and text in a conversation entry, in the order in which they are looked for."""

CALLS = ("tool_calls", "function_call")

REASONING = ("reasoning_content", "reasoning", "thinking")
"""Field names of an assistant's reasoning."""

TRAINED_IF = {
    "weight": True,
    "loss_weight": True,
    "loss": True,
    "train": True,
    "training": True,
    "mask": False,
}
"""Fields that say whether a turn is in the loss, and the truth of a value for which it is."""

READ_FIELDS = frozenset({*SPEAKERS, *TEXTS, *CALLS, *TRAINED_IF})
"""The fields of a conversation entry that are read, besides its reasoning."""

PROMPT_COLUMNS = ("prompt", "instruction", "question")
"""Where preference data has its prompt, if it is not a conversation."""

LABELS = ("label", "kto_tag")
"""Columns that mark a response as good or bad."""


def is_response(turn: Turn) -> bool:
    """Whether a turn is one that the model is trained to produce."""
    return turn["role"] == "assistant" and turn.get("trained") is not False


def read_pair(row: Row, mapping: Mapping) -> list[Turn]:
    """A prompt and its response, in two columns; and `system` if the row has it. Raises DatasetError.

    Either may be a list of messages. Then the assistant's turns in the prompt are left out of the loss.
    """
    response = mapping.response_column or ""
    if mapping.template:
        prompt = [_turn("user", fill_template(_compiled(mapping.template), row))]
    else:
        prompt = _prompt_turns(row, mapping.prompt_column or "", mapping)
    answer = row[response]
    if is_messages(answer):
        return [*_system(row), *prompt, *_conversation(answer, response, mapping)]
    return [*_system(row), *prompt, _turn("assistant", _text(row, response))]


def read_alpaca(row: Row, mapping: Mapping) -> list[Turn]:
    """Instruction and input as one prompt, after the system prompt and the history. Raises DatasetError."""
    turns = _system(row)
    for pair in _entries(row.get("history") or [], "history"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise DatasetError("'history' must be a list of pairs of prompt and response")
        turns += [_turn("user", text_of(pair[0], "history")), _turn("assistant", text_of(pair[1], "history"))]
    prompt = _joined(_prompt(row, "instruction"), _text(row, "input"))
    return [*turns, _turn("user", prompt), _turn("assistant", _text(row, "output"))]


def read_dolly(row: Row, mapping: Mapping) -> list[Turn]:
    """Instruction and context as one prompt, and the response. Raises DatasetError."""
    prompt = _joined(_prompt(row, "instruction"), _text(row, "context"))
    return [_turn("user", prompt), _turn("assistant", _text(row, "response"))]


def read_messages(row: Row, mapping: Mapping) -> list[Turn]:
    """A list of entries, usually with role and content. Raises DatasetError."""
    return _conversation(row["messages"], "messages", mapping)


def read_sharegpt(row: Row, mapping: Mapping) -> list[Turn]:
    """A list of entries, usually with from and value, after `system`. Raises DatasetError."""
    return [*_system(row), *_conversation(row["conversations"], "conversations", mapping)]


def read_preference(row: Row, mapping: Mapping) -> list[Turn]:
    """The prompt of a preference and its chosen answer; earlier answers are left out of the loss.

    Raises
    ------
    DatasetError
        With what is wrong with the row.
    """
    chosen = row["chosen"]
    if is_messages(chosen):
        answer = _conversation(chosen, "chosen", mapping)
        if any(turn["role"] != "assistant" for turn in answer):  # it contains the prompt too
            last = len(answer) - 1
            return [_untrained(turn) if index < last else turn for index, turn in enumerate(answer)]
    else:
        answer = [_turn("assistant", _text(row, "chosen"))]
    return [*_preference_prompt(row, mapping), *answer]


def is_preference(row: Row) -> bool:
    """Whether a row has a chosen and a rejected answer, and a prompt for them."""
    if "rejected" not in row:
        return False
    names = ("conversations", "messages", *PROMPT_COLUMNS)
    return any(name in row for name in names) or is_messages(row.get("chosen"))


def is_marked_bad(row: Row, mapping: Mapping) -> bool:
    """Whether the label of a row says that its response is bad."""
    return any(
        row.get(name) is False or str(row.get(name)).lower() == "false"
        for name in LABELS
        if name in row and name not in (mapping.prompt_column, mapping.response_column)
    )


def _preference_prompt(row: Row, mapping: Mapping) -> list[Turn]:
    for name in ("conversations", "messages"):
        if name in row:
            return [*_system(row), *map(_untrained, _conversation(row[name], name, mapping))]
    column = next((name for name in PROMPT_COLUMNS if name in row), None)
    if column is None:
        raise DatasetError("has no prompt for 'chosen'")
    turns = _prompt_turns(row, column, mapping)
    if column == "instruction" and _text(row, "input"):
        turns = [_turn("user", _joined(turns[0]["content"], _text(row, "input")))]
    return [*_system(row), *turns]


def _prompt_turns(row: Row, column: str, mapping: Mapping) -> list[Turn]:
    """The prompt: a text, or a list of messages without a response."""
    if is_messages(row[column]):
        return [_untrained(turn) for turn in _conversation(row[column], column, mapping)]
    return [_turn("user", _prompt(row, column))]


def _untrained(turn: Turn) -> Turn:
    return {**turn, "trained": False} if turn["role"] == "assistant" else turn


def is_messages(value: Any) -> bool:
    """Whether a value is a message or a list of messages."""
    entries = value if isinstance(value, list) else [value]
    return bool(entries) and all(
        isinstance(entry, dict) and any(name in entry for name in SPEAKERS) for entry in entries
    )


def _conversation(value: Any, column: str, mapping: Mapping) -> list[Turn]:
    """The entries of a list, or of one entry."""
    entries = [value] if isinstance(value, dict) and is_messages(value) else _entries(value, column)
    return [_turn_of(entry, column, mapping) for entry in entries]


def _system(row: Row) -> list[Turn]:
    text = _text(row, "system")
    return [_turn("system", text)] if text else []


def _turn_of(item: Any, where: str, mapping: Mapping) -> Turn:
    speaker = _first(item, SPEAKERS)
    if speaker is None:
        has = f" (it has {quoted(item)})" if isinstance(item, dict) and item else ""
        raise DatasetError(f"an entry of {where!r} has no {_usual(where, SPEAKERS)!r}{has}")
    name = str(item[speaker])
    role = role_of(item, mapping)
    if role is None:
        raise DatasetError(
            f"{speaker} is {shown(name)!r}; allowed: {', '.join(ROLES)}; "
            "name others with --roles, for example --roles customer=user,agent=assistant"
        )
    text = _first(item, TEXTS)
    calls = _calls(item)
    if (text is None or item[text] is None) and not calls:
        raise DatasetError(f"an entry of {where!r} has no {text or _usual(where, TEXTS)!r}")
    content = _content(item[text], text) if text else ""
    parts = [content, calls]
    if role == "assistant" and mapping.reasoning:
        parts.insert(0, _thought(item))
    turn = _turn(role, "\n".join(part for part in parts if part))
    if role == "assistant":
        if not is_trained(item):
            turn["trained"] = False
        if name.lower() in CALL_ROLES or (calls and not content):
            turn["call"] = True
    return turn


def role_of(item: Row, mapping: Mapping) -> str | None:
    """The role of a conversation entry; None if its name is unknown."""
    speaker = _first(item, SPEAKERS)
    name = str(item[speaker]) if speaker else ""
    return dict(mapping.roles).get(name) or ROLES.get(name.lower())


def is_trained(item: Row) -> bool:
    """Whether no field of a conversation entry says that it is left out of the loss."""
    return all(
        item.get(name) is None or isinstance(item[name], str) or bool(item[name]) is truth
        for name, truth in TRAINED_IF.items()
    )


def _thought(item: Row) -> str:
    """The reasoning of a turn in the tags that most chat templates use, with a line break after it."""
    name = _first(item, REASONING)
    text = item[name] if name else None
    return f"<think>\n{text}\n</think>\n" if isinstance(text, str) and text.strip() else ""


def _first(item: Any, names: Sequence[str]) -> str | None:
    """The first of these names that an entry has."""
    return next((name for name in names if isinstance(item, dict) and name in item), None)


def _usual(where: str, names: Sequence[str]) -> str:
    return names[1] if where == "conversations" else names[0]


def _content(value: Any, name: str) -> str:
    """Text, or the text parts of a list of parts."""
    if not isinstance(value, list):
        return text_of(value, name)
    texts = [_part(part) for part in value]
    if any(text is None for text in texts):
        raise DatasetError(f"{name!r} has a part that is not text")
    return text_of("".join(filter(None, texts)), name)


def _part(part: Any) -> str | None:
    """The text of a part of a content; None if it is not text."""
    if not isinstance(part, dict) or part.get("type", "text") != "text":
        return None
    text = part.get("text", part.get("value"))
    return text if isinstance(text, str) else None


def _calls(message: Row) -> str:
    """The tool calls of a message as a JSON array of functions: they are the model's response there."""
    calls = message.get("tool_calls") or message.get("function_call")
    if not calls:
        return ""
    listed = calls if isinstance(calls, list) else [calls]
    functions = [call.get("function", call) if isinstance(call, dict) else call for call in listed]
    return text_of(json.dumps(functions, ensure_ascii=False), "tool_calls")


def _entries(value: Any, name: str) -> list[Any]:
    """A list; in a table it may be JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            if "{'" in value:
                raise DatasetError(
                    f"{name!r} is a Python list as text, with single quotes; write it as JSON (json.dumps), "
                    "or save the table as JSON lines or Parquet"
                ) from None
            raise DatasetError(f"{name!r} is text, but not a JSON list ({error})") from None
    if not isinstance(value, list):
        raise DatasetError(f"{name!r} is {kind_of_value(value)}, should be a list")
    return value


def _prompt(row: Row, name: str) -> str:
    """A prompt may be empty, but not missing: a missing prompt would make the sample look hard."""
    if is_missing(row[name]):
        raise DatasetError(f"{name!r} is null, should be text")
    return _text(row, name)


def _text(row: Row, name: str) -> str:
    return text_of(row.get(name), name)


def _joined(prompt: str, more: str) -> str:
    return f"{prompt}\n\n{more}" if more else prompt


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}


_compiled = functools.lru_cache(maxsize=8)(compile_template)
