"""Start a pilot: a short evaluation of STAFF's coreset beside random ones."""

from __future__ import annotations

import streamlit as st

from pages.parts.navigation import show_evaluation
from pages.parts.page import errors
from pages.parts.words import sentence
from staff_engine.cli.command_lines import pilot_command
from staff_engine.errors import StaffError
from staff_engine.evaluation import planning
from staff_engine.evaluation.pilot import Pilot, plan_pilot
from staff_engine.evaluation_plan import PILOT_MINUTES
from staff_engine.runs import control
from staff_engine.runs.folders import Run
from staff_engine.runs.results import Results


def show(results: Results, held_out: str | None) -> None:
    """The time that a pilot may take, what it does then, its command, and the button that starts it."""
    source = Run(results.folder.name, results.folder)
    with st.container(border=True):
        st.markdown("**Or start small, with a pilot**")
        minutes = st.number_input(
            "Maximum minutes", min_value=0.1, value=PILOT_MINUTES, step=1.0, format="%g", width=180,
            key="pilot_minutes", help="The pilot has as many seeds, 2 to 10, as fit into this time.",
        )  # fmt: skip
        try:
            made = plan_pilot(source, minutes=minutes, held_out=held_out, results=results)
        except StaffError as error:
            st.info(sentence(error), icon=":material/timer:")
            return
        st.caption(made.words)
        if st.button("Start the pilot", icon=":material/experiment:", key="pilot_start"):
            _start(source, made)
        st.code(
            pilot_command(source.id, minutes=minutes, held_out=held_out), language="bash", wrap_lines=True
        )


def _start(source: Run, made: Pilot) -> None:
    with errors():
        run = planning.create(made.plan, made.evaluation, name=f"pilot of {source.id}")
        control.start(run)
    show_evaluation(run.id)
    st.rerun()
