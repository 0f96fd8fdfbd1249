"""LLaMA-Factory's dataset_info.json: the entry of an exported file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from staff_engine.data.turns import Turn
from staff_engine.errors import StaffError
from staff_engine.export.layouts import CALL, Record, call_text
from staff_engine.system.files import replaced

SUFFIXES = (".json", ".jsonl")
"""LLaMA-Factory determines a file's type from its name."""

INFO_FILE = "dataset_info.json"
"""LLaMA-Factory reads the entry from this file, in the folder of the data."""

SPEAKS_FIRST = ("user", "tool")
ANSWERS = ("assistant",)


def lay_out(turns: Sequence[Turn]) -> Record:
    """Lay out turns as `messages: [{role, content}]`, where tool calls have the role function_call."""
    return {"messages": [_message(turn) for turn in turns]}


def _message(turn: Turn) -> Record:
    if not turn.get("call"):
        return {"role": turn["role"], "content": turn["content"]}
    return {"role": CALL, "content": call_text(turn)}


def entry(file_name: str, carried: Sequence[str] = ()) -> dict[str, Any]:
    """The complete description of a file of `messages`.

    Parameters
    ----------
    file_name
        The name of the file.
    carried
        Its other columns: of `layouts.CARRIED`.

    Notes
    -----

    As soon as one `columns` or `tags` entry is listed, LLaMA-Factory treats all unlisted ones
    as absent (`DatasetAttr.join`). Without `system_tag`, it would skip every sample with a
    system turn. So all tags are listed, and all columns of the file. The formatting is
    `sharegpt` with the role names of `messages`, because `openai` adds a line to the system
    prompt (`OpenAIDatasetConverter`).
    """
    return {
        "file_name": file_name,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", **{name: name for name in carried}},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "observation_tag": "tool",
            "function_tag": CALL,
            "system_tag": "system",
        },
    }


def skips(turns: Sequence[Turn]) -> bool:
    """Whether LLaMA-Factory skips a sample: its turns must alternate, question first, answer last."""
    roles = [turn["role"] for turn in turns]
    if roles[:1] == ["system"]:
        roles = roles[1:]
    expected = (SPEAKS_FIRST, ANSWERS)
    return len(roles) % 2 != 0 or any(role not in expected[i % 2] for i, role in enumerate(roles))


def dataset_name(out: Path) -> str:
    """The file's name in training: its stem, without commas, because they separate names there."""
    return re.sub(r"[^\w.-]+", "_", out.stem).strip("_") or "coreset"


def with_entry(out: Path, carried: Sequence[str] = ()) -> dict[str, Any]:
    """The content of the dataset_info.json next to `out`, with the entry of `out` added.

    `carried` is as in `entry`.

    Raises
    ------
    StaffError
        If LLaMA-Factory cannot read a file named `out`, the existing file is not a JSON object,
        or it has an entry with this name for other data.
    """
    if out.suffix not in SUFFIXES:
        raise StaffError(f"{out.name}: LLaMA-Factory needs a file name that ends in {' or '.join(SUFFIXES)}")
    path, name = out.with_name(INFO_FILE), dataset_name(out)
    known = _read(path)
    if name in known and (not isinstance(known[name], dict) or known[name].get("file_name") != out.name):
        raise StaffError(f"{path} has an entry {name!r} for other data; choose another file name")
    return {**known, **own_entry(out.name, carried)}


def own_entry(file_name: str, carried: Sequence[str] = ()) -> dict[str, Any]:
    """The entry of dataset_info.json for a file; `carried` is as in `entry`."""
    return {dataset_name(Path(file_name)): entry(file_name, carried)}


def write_info(path: Path, content: dict[str, Any]) -> None:
    """Write dataset_info.json in ASCII, because LLaMA-Factory opens it in the system's encoding."""
    with replaced(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="ascii")


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise StaffError(f"{path} is not JSON, so no entry can be added: {error}") from None
    if not isinstance(content, dict):
        raise StaffError(f"{path} is a {type(content).__name__}, should be an object of datasets")
    return content
