"""What every page opens with: its title, what its link asked for and did not get, an engine's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from pages.parts import links
from pages.parts.words import sentence
from staff_engine.errors import StaffError


def header(title: str, sentence: str) -> None:
    """A page's title, and a sentence on what it is for."""
    st.title(title, anchor=False)
    st.caption(sentence)
    say_refusals()


def say_refusals() -> None:
    """Say what the link asked for and did not get."""
    for refusal in links.refusals():
        st.warning(refusal, icon=":material/link_off:")


@contextmanager
def errors() -> Iterator[None]:
    """Show an engine's error as a sentence, and end the page there."""
    try:
        yield
    except StaffError as error:
        st.error(sentence(error))
        st.stop()
