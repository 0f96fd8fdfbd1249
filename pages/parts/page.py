"""The top of every page: title, messages about an invalid link, and errors of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from pages.parts import links
from pages.parts.words import plain, sentence
from staff_engine.errors import StaffError


def header(title: str, sentence: str) -> None:
    """A page's title, and a sentence about its purpose."""
    st.title(title, anchor=False)
    st.caption(sentence)
    say_refusals()


def say_refusals() -> None:
    """Show the messages about invalid values of the link."""
    for refusal in links.refusals():
        st.warning(plain(refusal), icon=":material/link_off:")


@contextmanager
def errors() -> Iterator[None]:
    """Show an error of the engine as a sentence, and stop the page."""
    try:
        yield
    except StaffError as error:
        st.error(sentence(error))
        st.stop()
