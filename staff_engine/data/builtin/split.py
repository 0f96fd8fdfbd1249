"""The fixed split of built-in data: nine of ten prompts for training, the tenth held out."""

from __future__ import annotations

import hashlib

SPLITS = ("train", "held_out")


def digest(prompt: str) -> bytes:
    """The hash that decides a prompt's split and position: sha256, the same on every machine."""
    return hashlib.sha256(prompt.encode("utf-8")).digest()


def side_of(prompt: str) -> str:
    """`train` or, for a tenth of all prompts, `held_out`; it depends on the prompt alone.

    Rows with the same prompt are in the same split, regardless of other rows.
    """
    return SPLITS[int.from_bytes(digest(prompt)[:8], "big") % 10 == 0]
