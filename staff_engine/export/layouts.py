"""Record layouts: the turns of a sample → the fields that a fine-tuning tool reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from staff_engine.data.turns import Turn
from staff_engine.errors import StaffError

Record = dict[str, Any]

SHAREGPT_NAMES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}

OPTIONAL: dict[str, Any] = {"system": "", "history": []}
"""Fields of a layout that only some samples need, with their empty value for the others."""


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
    """Lay out turns as `messages: [{role, content}]`, in order; all turns are allowed."""
    return {"messages": [{"role": turn["role"], "content": turn["content"]} for turn in turns]}


def sharegpt(turns: Sequence[Turn]) -> Record:
    """Lay out turns as `conversations: [{from, value}]`, from system, human, gpt or tool; all are allowed."""
    return {
        "conversations": [{"from": SHAREGPT_NAMES[turn["role"]], "value": turn["content"]} for turn in turns]
    }


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
