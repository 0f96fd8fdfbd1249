"""Run: plan one, or watch the one that is chosen."""

from __future__ import annotations

import streamlit as st

from pages import _live, _plan, _shared

if st.session_state.run:
    _live.show(_shared.current_run())
else:
    _plan.show()
