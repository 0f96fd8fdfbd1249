"""The fixed split of built-in data: nine prompts in ten to train on, the tenth held out."""

from __future__ import annotations

import hashlib

SPLITS = ("train", "held_out")


def digest(prompt: str) -> bytes:
    """What a prompt's side and place are taken from: sha256, the same on every machine."""
    return hashlib.sha256(prompt.encode("utf-8")).digest()


def side_of(prompt: str) -> str:
    """`train` or, for a tenth of all prompts, `held_out`; it depends on the prompt alone.

    Rows with the same prompt are on the same side, whatever other rows there are.
    """
    return SPLITS[int.from_bytes(digest(prompt)[:8], "big") % 10 == 0]
