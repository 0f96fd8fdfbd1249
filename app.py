"""STAFF Studio: `streamlit run app.py` uses this file as the server and as the script of each page view."""

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

if __name__ == "__main__":
    from pages.parts import frame
    from staff_engine.program import NAME, asset

    st.set_page_config(
        page_title=NAME, page_icon=str(asset("icon.svg")), layout="wide", initial_sidebar_state="auto"
    )
    shown = st.navigation(
        {
            "": [
                st.Page("pages/home.py", title="Home", icon=":material/home:", default=True),
                st.Page("pages/data.py", title="Data", icon=":material/dataset:"),
                st.Page("pages/run.py", title="Run", icon=":material/play_circle:"),
            ],
            "Results": [
                st.Page("pages/scores.py", title="Scores", icon=":material/bar_chart:"),
                st.Page("pages/select.py", title="Select", icon=":material/tune:"),
                st.Page("pages/samples.py", title="Samples", icon=":material/table_rows:"),
                st.Page("pages/compare.py", title="Compare", icon=":material/compare_arrows:"),
                st.Page("pages/export.py", title="Export", icon=":material/download:"),
                st.Page("pages/family.py", title="Family", icon=":material/family_history:"),
            ],
        }
    )
    frame.show(shown)
else:
    from threading import Thread

    from starlette.middleware import Middleware

    from pages.parts import cache, downloads, failure, hosts
    from staff_engine.runs.control import restart_queued

    # Until st.navigation has run once, Streamlit treats a folder "pages" as its older kind of
    # multipage app, and a link to a page would break on a fresh server.
    PagesManager.uses_pages_directory = False
    app = st.App(
        __file__,
        routes=downloads.ROUTES,
        middleware=[Middleware(hosts.KnownHosts)],
        on_script_error=failure.show,
    )
    cache.tidy()
    Thread(target=restart_queued, daemon=True).start()  # runs that waited when the machine stopped
