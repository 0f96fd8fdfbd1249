"""Home: what this is, the demo, and all runs."""

from __future__ import annotations

import streamlit as st

from pages.parts.navigation import open_run, page_file
from pages.parts.page import errors, say_refusals
from pages.parts.run import listing
from staff_engine.data.builtin.tasks import TASKS
from staff_engine.pipelines.demo import DEMO_PLAN, demo_families, demo_plan, start_demo
from staff_engine.plan import Plan
from staff_engine.program import asset


def main() -> None:
    st.title("STAFF Studio", anchor=False)
    st.markdown(
        "Select the part of a fine-tuning set that is worth training on. A small model scores how hard each"
        " sample is. The large model that you want to train verifies a few of them, and the coreset takes"
        " more from where it has more to learn. You keep, for example, 10 % of the rows, without running the"
        " large model on all of them."
    )
    st.image(
        str(asset("two_stages.svg")),
        width=820,
        alt="A small model scores every sample; the scores are divided into strata; the target model verifies"
        " a few samples of each; the coreset is drawn from all strata.",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        begin = st.button("Try the demo", type="primary", icon=":material/play_arrow:", key="home_demo")
        if st.button("Start with my data", icon=":material/upload_file:", key="home_data"):
            st.switch_page(page_file("data"))
        plan = _demo_choice()
    st.caption(
        f"The demo scores {DEMO_PLAN.limit} functions of Python's standard library with two small built-in"
        " models. It works offline and takes about a minute."
    )
    if begin:
        with errors():
            open_run(start_demo(plan).id)
    listing.show()


def _demo_choice() -> Plan:
    """A choice of another task or model family for the demo, or of data with faults, in a popover."""
    families = demo_families()
    with st.popover("Another demo", type="tertiary", icon=":material/tune:"):
        task = st.radio(
            "Data", list(TASKS), captions=[each.sentence for each in TASKS.values()], key="home_demo_task",
            format_func=str.capitalize,
        )  # fmt: skip
        faulty = st.toggle(
            "Add faults on purpose", key="home_demo_faults",
            help="A quarter of the responses are swapped, and one row in twenty occurs eight times. Select"
            " then says how many of these rows the coreset has.",
        )  # fmt: skip
        family = st.radio(
            "Models", list(families), horizontal=True, key="home_demo_family",
            help="Each family has a small model and a target, trained for demonstration.",
        )  # fmt: skip
    return demo_plan(task, families[family], faulty=faulty)


say_refusals()
main()
