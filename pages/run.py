"""Run: plan one, or watch the one that is chosen."""

from __future__ import annotations

import streamlit as st

from pages.parts import run_live, run_plan
from pages.parts.state import current_run

if st.session_state.run:
    run_live.show(current_run())
else:
    run_plan.show()
