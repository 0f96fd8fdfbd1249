"""Where the Data page begins: at the data of the plan that is being made."""

import json

import pytest

from staff_engine.data.builtin.tasks import TASKS
from staff_engine.data.sources import keep_upload
from tests.helpers.seen import figures, texts

ROWS = "\n".join(json.dumps({"question": f"what is {i}?", "answer": f"it is {i}"}) for i in range(20))


def test_a_plan_that_is_being_made_is_where_the_page_begins(tmp_path, open_page):
    path = tmp_path / "rows.jsonl"
    path.write_text(ROWS)
    app = open_page("home")
    app.session_state["new_plan"] = {"dataset": str(path), "limit": 7}
    app.switch_page("pages/data.py").run()
    assert app.text_input(key="data_path").value == str(path)
    assert figures(app)["Rows"] == "7"


def test_a_plan_on_a_task_is_where_the_page_begins(open_page):
    app = open_page("home")
    app.session_state["new_plan"] = {"dataset": "builtin:kazakh", "split": "held_out"}
    app.switch_page("pages/data.py").run()
    assert app.selectbox(key="data_task").value == "kazakh"
    assert app.segmented_control(key="data_side").value == "held_out"
    app.segmented_control(key="data_kind").set_value("hub").run()
    assert app.text_input(key="data_split").value == "train"


@pytest.mark.parametrize(
    ("plan", "kind", "shown"),
    [
        (
            {"dataset": "some/data:main", "split": "test"},
            "hub",
            {"data_hub": "some/data", "data_config": "main"},
        ),
        ({"dataset": "some/data@v1.0"}, "hub", {"data_hub": "some/data@v1.0", "data_config": ""}),
        ({"dataset": "s3://bucket/a.jsonl"}, "file", {"data_path": "s3://bucket/a.jsonl"}),
        ({"dataset": "/nowhere/a.jsonl"}, "file", {"data_path": "/nowhere/a.jsonl"}),
    ],
)
def test_a_plan_is_where_the_page_begins(open_page, plan, kind, shown):
    app = open_page("home")
    app.session_state["new_plan"] = plan
    app.switch_page("pages/data.py").run()
    assert app.segmented_control(key="data_kind").value == kind
    assert {name: app.text_input(key=name).value for name in shown} == shown
    if kind == "hub":
        assert app.text_input(key="data_split").value == plan.get("split", "train")


def test_a_plan_on_a_task_with_faults_is_where_the_page_begins(open_page):
    source = "builtin:chat?swapped=0.25&duplicates=0.05"
    app = open_page("home")
    app.session_state["new_plan"] = {"dataset": source}
    app.switch_page("pages/data.py").run()
    assert not app.exception
    assert "Chat with faults (swapped=0.25&duplicates=0.05)" in app.selectbox(key="data_task").options
    next(each for each in app.button if each.label == "Use this data").click().run()
    assert app.session_state["new_plan"]["dataset"] == source


def test_a_plan_on_an_unknown_task_begins_with_another(open_page):
    app = open_page("home")
    app.session_state["new_plan"] = {"dataset": "builtin:poems"}
    app.switch_page("pages/data.py").run()
    assert not app.exception
    assert app.selectbox(key="data_task").value == next(iter(TASKS))


def test_an_upload_has_its_own_name_everywhere(home, open_page):
    path = keep_upload("my rows.jsonl", ROWS.encode())
    app = open_page("home")
    app.session_state["new_plan"] = {"dataset": str(path)}
    app.switch_page("pages/data.py").run()
    assert app.segmented_control(key="data_kind").value == "upload"
    assert "Uploaded earlier: my-rows.jsonl" in texts(app)
    app.switch_page("pages/run.py").run()
    assert "**my-rows.jsonl**" in texts(app)
    assert str(home) not in texts(app)
