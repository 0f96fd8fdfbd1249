"""Texts as pages show them: user text and errors of the engine."""

from __future__ import annotations


def plain(text: str) -> str:
    """User text, escaped so that Markdown shows it literally."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#$~:|" else letter for letter in text)


def sentence(error: Exception | str) -> str:
    """An error of the engine as a sentence, escaped for Markdown."""
    text = str(error)
    return plain(f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}")
