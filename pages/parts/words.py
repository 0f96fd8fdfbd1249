"""Texts as pages show them: user text and errors of the engine.

Every text that comes from a link, a file, a model or a person goes through `plain` before it is part of
a label, a message or other Markdown.
"""

from __future__ import annotations

import re

MARKS = "\\`*_{}[]()<>#$~:|&!"
"""Characters that begin Markdown inside a line, with Streamlit's own additions."""

AT_START = re.compile(r"^(\d+(?=[.)])|(?=[-+=]))")
"""Where a line would begin a list or an underline."""

ADDRESS = re.compile(r"https?:(?=//)|\bwww(?=\.)|@(?=\w)", re.IGNORECASE)
"""Where an address begins, which would become a link. A backslash does not prevent it."""

JOINER = "\u2060"
"""An invisible character without width."""


def plain(text: str) -> str:
    """User text in one line, escaped so that Markdown shows it literally.

    Addresses get an invisible character, so that they do not become links.
    """
    line = ADDRESS.sub(rf"\g<0>{JOINER}", " ".join(text.split()))
    escaped = "".join(f"\\{letter}" if letter in MARKS else letter for letter in line)
    return AT_START.sub(r"\g<0>\\", escaped)


def sentence(error: Exception | str) -> str:
    """An error of the engine as a sentence, escaped for Markdown."""
    text = str(error)
    return plain(f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}")
