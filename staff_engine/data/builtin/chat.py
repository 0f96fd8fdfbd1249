"""`builtin:chat`: questions and answers from the English part of the package chatterbot-corpus."""

from __future__ import annotations

from collections.abc import Iterator

from staff_engine.data.builtin.split import digest

ANSWERS_TO_ONE = frozenset({"computers", "emotion"})
"""Files in whose conversations all statements answer the first; in the others each answers the one before."""


def chat() -> Iterator[dict[str, str]]:
    """`builtin:chat`: answer what is said to a chat bot.

    A question may have several answers, each a row of its own; pairs that are alike in
    both count once. The order is that of a hash of the prompt: the first rows are of
    all categories.

    Yields
    ------
    dict
        `prompt`: a statement; `response`: what answers it; `category`: the file it is in.
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
    """The pairs of statements in a file of conversations, those of which one is empty left out.

    Parameters
    ----------
    text
        YAML with a list `conversations`, each a list of statements; what is no list is no conversation.
    one_question
        Whether all statements of a conversation answer its first, or each the one before it.
    """
    import yaml

    for conversation in yaml.load(text, Loader=yaml.BaseLoader)["conversations"]:  # a year stays text
        if not isinstance(conversation, list):
            continue
        statements = [cleaned(statement) for statement in conversation]
        questions = [statements[0]] * len(statements) if one_question else statements
        for prompt, response in zip(questions, statements[1:], strict=False):
            if prompt and response:
                yield prompt, response


def cleaned(statement: str) -> str:
    """A statement without blanks at the ends of its lines; if it is one line, with one between words."""
    lines = statement.strip().splitlines()
    if len(lines) > 1:
        return "\n".join(line.rstrip() for line in lines)  # code among them keeps its indentation
    return " ".join(statement.split())
