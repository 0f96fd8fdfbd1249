"""Words as pages show them: somebody's own text, an engine's error, a share."""

from __future__ import annotations


def plain(text: str) -> str:
    """Somebody's own text as Markdown shows it letter by letter."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#$~:|" else letter for letter in text)


def sentence(error: Exception | str) -> str:
    """An engine's error as a sentence, letter by letter."""
    text = str(error)
    return plain(f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}")


def percent(share: float) -> str:
    """A share of 1 that people set, in per cent and to the digit: "90%", "95.5%"."""
    return f"{100 * share:.6g}%"
