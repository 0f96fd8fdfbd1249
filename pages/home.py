"""Home: what this is, the demo, and all runs."""

from __future__ import annotations

import streamlit as st

from pages import _runs_list, _shared
from staff_engine.demo import DEMO_PLAN, start_demo


def main() -> None:
    st.title("STAFF Studio", anchor=False)
    st.markdown(
        "Cut a fine-tuning set down to the part worth training on. A small model reads all of your data and"
        " says how hard each sample is; the large model that you want to train checks a few of them, and the"
        " budget moves to where it finds more to learn. You get a tenth of the rows, say, for a fraction of"
        " what reading everything on the large model would cost."
    )
    st.image(
        "assets/two_stages.svg",
        width=820,
        alt="A small model scores every sample; the scores are cut into strata; the target model checks a few"
        " samples of each; the coreset is drawn from all strata.",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Try the demo", type="primary", icon=":material/play_arrow:", key="home_demo"):
            with _shared.errors():
                _shared.open_run(start_demo().id)
        if st.button("Start with my data", icon=":material/upload_file:", key="home_data"):
            st.switch_page(_shared.page("data"))
        st.caption(
            f"The demo scores {DEMO_PLAN.limit} functions of Python's standard library with two tiny built-in"
            " models, offline, in about a minute.",
            width="content",
        )
    _runs_list.show()


_shared.say_refusals()
main()
