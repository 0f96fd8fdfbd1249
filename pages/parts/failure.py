"""The message for an unexpected error of a page, and where to find the details."""

from __future__ import annotations

import logging

import streamlit as st

from pages.parts.words import sentence
from staff_engine.errors import StaffError
from staff_engine.system.disk import full_disk
from staff_engine.system.home import common_home

log = logging.getLogger(__name__)


def show(error: Exception) -> bool:
    """Show an error that no page caught, instead of Streamlit's traceback; returns True for "handled"."""
    log.error("unexpected error on a page", exc_info=error)
    if isinstance(error, StaffError):
        st.error(sentence(error))
    elif full := full_disk(error, common_home()):
        st.error(sentence(full))
    else:
        st.error(
            "Unexpected error on this page. Your runs continue and nothing is lost. Reload the page to try "
            "again. The terminal in which the app was started shows the details."
        )
    return True
