"""No page loads a model library, so that all open at once."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.made_similarity import make_finished_similarity

PROJECT = Path(__file__).parent.parent.parent

CODE = """
import runpy, sys
from functools import partial
from streamlit.runtime.scriptrunner import script_runner
from streamlit.testing.v1 import AppTest

script_runner._mpa_v1 = partial(runpy.run_path, run_name="__main__")  # see conftest.py
app = AppTest.from_file("app.py", default_timeout=60).run()
for name in ("home", "data", "run", "scores", "select", "samples", "compare", "export", "family"):
    app.switch_page(f"pages/{name}.py").run()
    app.query_params["run"] = sys.argv[1]
    app.query_params["row"] = "3"
    app.query_params["compare_view"] = "methods"
    app.query_params["family"] = sys.argv[2]
    app.run()
    assert not app.exception, (name, app.exception)
print(*sys.modules)
"""


def test_no_page_loads_torch_or_its_kin(finished_run, home):
    similarity = make_finished_similarity()
    opened = subprocess.run(
        [sys.executable, "-c", CODE, finished_run.id, similarity.id],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**os.environ, "STAFF_HOME": str(home)},
    )
    assert opened.returncode == 0, opened.stderr[-2000:]
    loaded = set(opened.stdout.split())
    assert not {"torch", "transformers", "peft", "datasets", "accelerate"} & loaded
    expected = {"runs.results", "charts.similarity", "selection.baselines.d2"}
    assert {f"staff_engine.{name}" for name in expected} <= loaded
