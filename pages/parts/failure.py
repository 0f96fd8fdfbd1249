"""What a person sees when a page itself breaks: a sentence, and where the details are."""

from __future__ import annotations

import logging

import streamlit as st

from staff_engine.errors import StaffError

log = logging.getLogger(__name__)


def show(error: Exception) -> bool:
    """Show an error that no page caught, in place of Streamlit's traceback; True says that it is shown."""
    log.error("a page broke", exc_info=error)
    if isinstance(error, StaffError):
        text = str(error)
        st.error(f"{text[:1].upper()}{text[1:]}")
    else:
        st.error(
            "This page broke. Your runs go on and nothing is lost; reload the page to try again. "
            "The terminal in which the app was started has the details."
        )
    return True
