"""What the pages' tests share: a home of their own, made-up runs, and the app at a page."""

import runpy
from functools import partial
from pathlib import Path

import pytest
from streamlit.runtime.scriptrunner import script_runner
from streamlit.testing.v1 import AppTest

from pages.parts.cache import forget
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run
from staff_engine.runs.status import StageStatus, Status, now, save_status
from tests.helpers.made_run import make_finished_run
from tests.helpers.made_similarity import alive, make_finished_similarity

PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty STAFF_HOME."""
    import streamlit as st

    folder = tmp_path / "home"
    monkeypatch.setenv("STAFF_HOME", str(folder))
    st.cache_data.clear()
    st.cache_resource.clear()
    forget()
    return folder


@pytest.fixture
def finished_run(home, tmp_path):
    """A finished run of 400 rows with made-up scores."""
    return make_finished_run(tmp_path)


@pytest.fixture
def similarity(home):
    """A finished similarity run of a small model near to the target, and one far from it."""
    return make_finished_similarity()


@pytest.fixture
def run_in_state(home, tmp_path):
    """Make a run whose status says a state; in an active one this process stands in for its own."""

    def make(state, **more):
        plan = Plan.make(
            dataset="builtin:docstrings", small="builtin:llama-nano", target="builtin:llama-mini", limit=600
        )
        run = create_run(plan, name=f"a {state} run")
        if state == "damaged":
            (run.folder / "plan.json").write_text("{")
            return run
        process = alive() if state in ("queued", "running") else {"pid": 2**22 + 1, "pid_started": 1.0}
        status = {
            "state": "running" if state == "interrupted" else state,
            "stage": "speculate",
            "done": 120,
            "total": 600,
            "rate": 60.0,
            "eta": 8.0,
            "started": now(),
            "stages": (
                StageStatus(name="import", done=600, total=600, unit="rows", seconds=1.0),
                StageStatus(name="fine-tune", done=75, total=75, unit="steps", seconds=12.0),
                StageStatus(name="speculate", done=120, total=600, seconds=2.0),
            ),
            **process,
            **more,
        }
        save_status(run.folder, Status(**status))
        run.log.write_text("10:00:00 INFO speculate: 120 of 600 samples\n", encoding="utf-8")
        return run

    return make


@pytest.fixture
def open_page(home, monkeypatch):
    """Open the app at a page with query parameters: `open_page("select", run=run.id, strata="20")`."""
    # AppTest forgets what app.py tells the server of the folder "pages", and would run the page alone.
    monkeypatch.setattr(script_runner, "_mpa_v1", partial(runpy.run_path, run_name="__main__"))

    def open_at(name, **query):
        app = AppTest.from_file(str(PROJECT / "app.py"), default_timeout=60)
        if name != "home":
            app.run()  # pages are known to it once the app has run
            app.switch_page(f"pages/{name}.py").run()  # which clears the query
        for key, value in query.items():
            app.query_params[key] = str(value)
        return app.run()

    return open_at
