"""Record layouts: the turns of a sample → the fields that a fine-tuning tool reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from staff_engine.data.turns import CALLS, TEXTS, Turn, is_response
from staff_engine.errors import StaffError

Record = dict[str, Any]

SHAREGPT_NAMES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}

CALL = "function_call"
"""The role of a turn that consists of tool calls, in ShareGPT and LLaMA-Factory."""

OPTIONAL: dict[str, Any] = {
    "system": "", "history": [], "tools": "", "images": [], "videos": [], "audios": [],
}  # fmt: skip
"""Fields of a layout that only some samples need, with their empty value for the others."""

CARRIED = ("tools", "images", "videos", "audios")
"""Columns of an imported row that a conversation layout keeps; tools become JSON text."""


def alpaca(turns: Sequence[Turn]) -> Record:
    """Lay out turns as `instruction, input, output`, with `system` and `history` if needed.

    Parameters
    ----------
    turns
        An optional system turn, then alternating user and assistant turns, assistant last.

    Returns
    -------
    Record
        The last question is the instruction, the last answer the output; `history` contains the
        earlier ones as [question, answer]. `input` is empty: a normalised prompt is one text.

    Raises
    ------
    StaffError
        If the turns have another order.
    """
    system, pairs = _question_answer_pairs(turns, "alpaca")
    question, answer = pairs[-1]
    record: Record = {"instruction": question, "input": "", "output": answer}
    if system is not None:
        record["system"] = system
    if pairs[:-1]:
        record["history"] = [list(pair) for pair in pairs[:-1]]
    return record


def prompt_completion(turns: Sequence[Turn]) -> Record:
    """Lay out one question and its answer as `prompt, completion`.

    A system turn is put before the prompt, with a blank line between, because the layout has no
    field for it.

    Raises
    ------
    StaffError
        If there is more than one question: in one joined text, responses could no longer be
        distinguished from prompts.
    """
    system, pairs = _question_answer_pairs(turns, "prompt-completion")
    if len(pairs) > 1:
        raise StaffError(
            f"{len(turns)} turns do not fit prompt-completion, which allows one prompt and one completion; "
            "use messages, sharegpt, alpaca or llama-factory"
        )
    prompt, completion = pairs[0]
    return {"prompt": prompt if system is None else f"{system}\n\n{prompt}", "completion": completion}


def messages(turns: Sequence[Turn]) -> Record:
    """Lay out turns as `messages: [{role, content}]`, in order; all turns are allowed.

    A turn of tool calls has them in `tool_calls`. If a turn is left out of the loss, its `weight` is 0, and
    that of the other assistant turns is 1.
    """
    return {"messages": [_message(turn) | _weight(turn, turns) for turn in turns]}


def sharegpt(turns: Sequence[Turn]) -> Record:
    """Lay out turns as `conversations: [{from, value}]`, in order; all turns are allowed.

    `from` is system, human, gpt, function_call or observation. Weights are as in `messages`.
    """
    return {
        "conversations": [
            {"from": CALL, "value": call_text(turn)} | _weight(turn, turns)
            if turn.get("call")
            else {"from": SHAREGPT_NAMES[turn["role"]], "value": turn["content"]} | _weight(turn, turns)
            for turn in turns
        ]
    }


def carry(row: Record) -> Record:
    """The columns of an imported row that a conversation layout keeps."""
    kept = {name: row[name] for name in CARRIED if row.get(name)}
    if "tools" in kept and not isinstance(kept["tools"], str):
        kept["tools"] = json.dumps(kept["tools"], ensure_ascii=False)
    return kept


def has_untrained(turns: Sequence[Turn]) -> bool:
    """Whether a turn is left out of the loss."""
    return any(turn.get("trained") is False for turn in turns)


def calls_of(turn: Turn) -> list[Record]:
    """The functions that a turn of tool calls calls, with their arguments as objects; empty if unknown."""
    try:
        parsed = json.loads(turn["content"]) if turn.get("call") else []
    except (ValueError, RecursionError):
        return []
    calls = parsed if isinstance(parsed, list) else [parsed]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        return []
    return [{**call, "arguments": _parsed(call.get("arguments", {}))} for call in calls]


def call_text(turn: Turn) -> str:
    """The calls of a turn as JSON: an object, or a list of several; unchanged if it is that already."""
    calls = calls_of(turn)
    if not calls or json.loads(turn["content"]) in (calls[0], calls):
        return turn["content"]
    return json.dumps(calls if len(calls) > 1 else calls[0], ensure_ascii=False)


def has_text_and_calls(line: bytes) -> bool:
    """Whether a turn of an imported row has tool calls next to a text, so that they become a part of it."""
    if b'"tool_calls"' not in line and b'"function_call"' not in line:
        return False
    values = [value for value in json.loads(line).values() if isinstance(value, list)]
    return any(
        isinstance(entry, dict) and any(map(entry.get, CALLS)) and any(map(entry.get, TEXTS))
        for value in values
        for entry in value
    )


def _parsed(arguments: Any) -> Any:
    """Arguments as an object: OpenAI's format has them as JSON text."""
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return arguments


def _message(turn: Turn) -> Record:
    calls = calls_of(turn)
    if not calls:
        return {"role": turn["role"], "content": turn["content"]}
    functions = [{**call, "arguments": json.dumps(call["arguments"], ensure_ascii=False)} for call in calls]
    return {
        "role": turn["role"],
        "content": None,
        "tool_calls": [{"type": "function", "function": function} for function in functions],
    }


def _weight(turn: Turn, turns: Sequence[Turn]) -> Record:
    if turn["role"] != "assistant" or not has_untrained(turns):
        return {}
    return {"weight": int(is_response(turn))}


def fill(record: Record, optional: Iterable[str]) -> Record:
    """Add the optional fields that other records of the file have: readers expect one set of columns."""
    return record | {name: OPTIONAL[name] for name in OPTIONAL if name in optional and name not in record}


def _question_answer_pairs(turns: Sequence[Turn], layout: str) -> tuple[str | None, list[tuple[str, str]]]:
    """The system turn's text and (question, answer) for the others, which must alternate."""
    has_system = bool(turns) and turns[0]["role"] == "system"
    spoken = turns[1:] if has_system else turns
    roles = [turn["role"] for turn in spoken]
    if not roles or len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        listed = ", ".join(turn["role"] for turn in turns) or "(none)"
        raise StaffError(
            f"the turns {listed} do not fit {layout}, where user and assistant must alternate; "
            "messages and sharegpt allow any turns"
        )
    texts = [turn["content"] for turn in spoken]
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    return (turns[0]["content"] if has_system else None), pairs
