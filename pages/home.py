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
        "Cut a fine-tuning set down to the part worth training on. A small model reads all of your data and"
        " says how hard each sample is; the large model that you want to train checks a few of them, and the"
        " budget moves to where it finds more to learn. You get a tenth of the rows, say, for a fraction of"
        " what reading everything on the large model would cost."
    )
    st.image(
        str(asset("two_stages.svg")),
        width=820,
        alt="A small model scores every sample; the scores are cut into strata; the target model checks a few"
        " samples of each; the coreset is drawn from all strata.",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        begin = st.button("Try the demo", type="primary", icon=":material/play_arrow:", key="home_demo")
        if st.button("Start with my data", icon=":material/upload_file:", key="home_data"):
            st.switch_page(page_file("data"))
        plan = _demo_choice()
    st.caption(
        f"The demo scores {DEMO_PLAN.limit} functions of Python's standard library with two tiny built-in"
        " models, offline, in about a minute."
    )
    if begin:
        with errors():
            open_run(start_demo(plan).id)
    listing.show()


def _demo_choice() -> Plan:
    """Another task or family for the demo, out of the way of who just wants to see it."""
    families = demo_families()
    with st.popover("Another demo", type="tertiary", icon=":material/tune:"):
        task = st.radio(
            "Data", list(TASKS), captions=[each.sentence for each in TASKS.values()], key="home_demo_task"
        )
        family = st.radio(
            "Models", list(families), horizontal=True, key="home_demo_family",
            help="Each family has a small model and a target, trained for trying things on.",
        )  # fmt: skip
    return demo_plan(task, families[family])


say_refusals()
main()
