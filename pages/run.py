"""Run: plan a new run, or follow the selected one."""

from __future__ import annotations

import streamlit as st

from pages.parts.run import form, live
from pages.parts.state import current_run

if st.session_state.run:
    live.show(current_run())
else:
    form.show()
