"""Words as pages show them: somebody's own text, an engine's error."""

from __future__ import annotations


def plain(text: str) -> str:
    """Somebody's own text as Markdown shows it letter by letter."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#$~:|" else letter for letter in text)


def sentence(error: Exception | str) -> str:
    """An engine's error as a sentence, letter by letter."""
    text = str(error)
    return plain(f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}")
