"""`builtin:chat`: questions and answers from the English part of the package chatterbot-corpus."""

from __future__ import annotations

from collections.abc import Iterator

from staff_engine.data.builtin.split import digest

ANSWERS_TO_ONE = frozenset({"computers", "emotion"})
"""Files in which all statements answer the first one; in other files, each answers the one before it."""


def chat() -> Iterator[dict[str, str]]:
    """`builtin:chat`: answer a message to a chat bot.

    A question may have several answers, each in its own row; equal pairs count once. Rows
    are sorted by a hash of the prompt, so that the first rows cover all categories.

    Yields
    ------
    dict
        `prompt`: a statement; `response`: its answer; `category`: the name of its file.
    """
    from importlib.resources import files

    rows: dict[tuple[str, str], dict[str, str]] = {}
    folder = files("chatterbot_corpus") / "data" / "english"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        category = file.name.removesuffix(".yml")
        text = file.read_text(encoding="utf-8")
        for pair in pairs(text, one_question=category in ANSWERS_TO_ONE):
            prompt, response = pair
            rows.setdefault(pair, {"prompt": prompt, "response": response, "category": category})
    yield from sorted(rows.values(), key=lambda row: digest(row["prompt"]))


def pairs(text: str, *, one_question: bool = False) -> Iterator[tuple[str, str]]:
    """The pairs of statements in a file of conversations, without pairs that have an empty part.

    Parameters
    ----------
    text
        YAML with a list `conversations`, each a list of statements; anything else in it is skipped.
    one_question
        Whether all statements of a conversation answer its first, or each the one before it.
    """
    import yaml

    content = yaml.load(text, Loader=yaml.BaseLoader)  # a year stays text; makes no objects  # nosec B506
    for conversation in content["conversations"]:
        if not isinstance(conversation, list):
            continue
        statements = [cleaned(statement) for statement in conversation]
        questions = [statements[0]] * len(statements) if one_question else statements
        for prompt, response in zip(questions, statements[1:], strict=False):
            if prompt and response:
                yield prompt, response


def cleaned(statement: str) -> str:
    """A statement without trailing spaces; in a single line, also with single spaces between words."""
    lines = statement.strip().splitlines()
    if len(lines) > 1:
        return "\n".join(line.rstrip() for line in lines)  # code among them keeps its indentation
    return " ".join(statement.split())
