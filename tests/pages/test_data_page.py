"""The Data page: every source, every state of the check, mapping by hand, and the way to a run."""

import json
import os
import sys

import pyarrow as pa
import pytest

from staff_engine.data import fetching, locating
from staff_engine.data.builtin.tasks import TASKS
from staff_engine.data.inspection import job
from staff_engine.data.inspection.findings import DataChoice
from staff_engine.data.inspection.job import Inspection, inspect_here, key_of, read_inspection
from staff_engine.system.processes import start_time

ROWS = [{"question": f"what is {i}?", "answer": f"it is **{i}**"} for i in range(20)]


@pytest.fixture
def write(tmp_path):
    """Write a file of rows; raw lines go in as they are."""

    def made(rows, name="my data.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        return path

    return made


@pytest.fixture
def look_at(open_page):
    """Open the page with the path of a file in it."""

    def opened(path):
        app = open_page("data")
        app.text_input(key="data_path").set_value(str(path)).run()
        assert not app.exception
        return app

    return opened


def button(app, label):
    return next(each for each in app.button if each.label == label)


def said(elements):
    return " ".join(str(each.value) for each in elements)


def figures(app):
    return {each.label: each.value for each in app.metric}


def test_at_first_the_page_says_what_can_be_read(open_page):
    app = open_page("data")
    assert not app.exception
    assert "JSON lines" in said(app.caption)
    assert not app.metric


def test_a_small_file_is_detected_shown_and_checked_at_once(write, look_at):
    app = look_at(write([*ROWS, ROWS[0], {**ROWS[1], "answer": "no"}, "{broken", {"question": "q"}]))
    assert said(app.code).startswith("what is 0? it is **0** what is 1?")
    assert app.selectbox(key="data_format").options[0] == "Question and answer (detected)"
    assert figures(app) == {
        "Rows": "24",
        "Can be used": "22",
        "Cannot be used": "2",
        "Repeated rows": "1",
        "Different responses": "1",
    }
    assert len(app.get("plotly_chart")) == 2
    assert app.dataframe[-1].value["Text"].tolist() == ["{broken", '{"question": "q"}']
    assert app.dataframe[-1].value["Line"].tolist() == [23, 24]


def test_rows_of_one_reason_can_be_seen_alone(write, look_at):
    app = look_at(write([*ROWS, "{broken", {"question": "q"}]))
    reasons = next(each for each in app.selectbox if each.label == "Reason")
    assert reasons.options == ["All reasons (2)", "not JSON (1)", "has no 'answer' (1)"]
    reasons.set_value("not JSON").run()
    assert app.dataframe[-1].value["Text"].tolist() == ["{broken"]


def test_columns_that_no_format_knows_are_chosen_by_hand_with_a_live_preview(write, look_at):
    path = write([{"title": "a title", "body": "a body", "tag": 1}] * 3)
    app = look_at(path)
    assert "No known format fits" in said(app.caption)
    assert said(app.code).startswith('{"title": "a title"')
    assert button(app, "Use this data").disabled
    app.selectbox(key="data_prompt_column").set_value("title").run()
    app.selectbox(key="data_response_column").set_value("body").run()
    assert said(app.code).startswith("a title a body")
    assert figures(app)["Repeated rows"] == "2"
    assert not button(app, "Use this data").disabled


def test_a_format_that_does_not_fit_says_so(write, look_at):
    app = look_at(write(ROWS))
    app.selectbox(key="data_format").set_value("messages").run()
    assert "needs the columns 'messages'; the data has 'question', 'answer'" in said(app.warning)
    assert button(app, "Use this data").disabled


def test_this_data_goes_into_the_new_plan_and_on_to_the_run_page(write, look_at):
    path = write(ROWS)
    app = look_at(path)
    app.session_state["new_plan"] = {"dataset": "other", "prompt_column": "x", "strata": 9}
    app.number_input(key="data_limit").set_value(5).run()
    button(app, "Use this data").click().run()
    plan = app.session_state["new_plan"]
    assert {name: plan[name] for name in ("strata", "dataset", "limit")} == {
        "strata": 9, "dataset": str(path), "limit": 5,
    }  # fmt: skip
    assert "prompt_column" not in plan
    assert app.session_state["run"] is None


def test_what_was_chosen_stays_while_other_pages_are_visited(write, look_at):
    path = write(ROWS)
    app = look_at(path)
    app.switch_page("pages/home.py").run()
    app.switch_page("pages/data.py").run()
    assert app.text_input(key="data_path").value == str(path)
    assert figures(app)["Rows"] == "20"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (os.urandom(2000).replace(b"{", b"x").replace(b"[", b"x"), "Is this the right file"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused_in_a_sentence(tmp_path, look_at, content, sentence):
    (tmp_path / "a.jsonl").write_bytes(content)
    app = look_at(tmp_path / "a.jsonl")
    assert sentence in said(app.error)
    assert not app.metric


def test_a_path_that_is_wrong_is_refused_in_a_sentence(tmp_path, look_at, write):
    write(ROWS, "train.jsonl")
    assert "similar names are train.jsonl" in said(look_at(tmp_path / "tran.jsonl").error)
    (tmp_path / "empty").mkdir()
    assert "has no data files" in said(look_at(tmp_path / "empty").error)


def test_text_is_never_read_as_markdown(write, look_at):
    rows = [{"question": "<b>$x$</b>", "answer": ""}, {"question": "# a", "answer": "**b**"}]
    app = look_at(write(rows))
    assert app.code[1].value == "# a"
    assert all(each.language in (None, "", "plaintext") for each in app.code)
    assert said(app.text) == "no response"


def test_a_large_file_is_checked_in_the_background_when_asked(write, look_at, monkeypatch):
    monkeypatch.setattr(job, "SMALL", 10)
    path = write(ROWS)
    app = look_at(path)
    assert not app.metric
    started = []
    monkeypatch.setattr("pages.parts.data.check.start_inspection", started.append)
    button(app, "Check every row").click().run()
    assert [choice.dataset for choice in started] == [str(path)]
    inspect_here(started[0])
    app.run()
    assert figures(app)["Rows"] == "20"


@pytest.fixture
def check_in_state(home, write):
    """A large file whose check is in a state."""

    def made(**state):
        path = write(ROWS)
        choice = DataChoice(dataset=str(path))
        folder = home / "inspections" / key_of(choice)
        folder.mkdir(parents=True)
        (folder / "inspection.json").write_text(Inspection(choice=choice, **state).model_dump_json())
        return path

    return made


def test_a_running_check_shows_how_far_it_is(check_in_state, look_at):
    this = {"pid": os.getpid(), "pid_started": start_time(os.getpid())}
    app = look_at(check_in_state(rows=12_000, share=0.4, background=True, **this))
    assert "Checked 12,000 rows" in app.get("progress")[0].proto.text
    assert button(app, "Stop")


def test_a_failed_check_says_why_and_can_be_tried_again(check_in_state, look_at, monkeypatch):
    app = look_at(check_in_state(state="failed", message="the *disk* is full"))
    assert said(app.error) == r"The \*disk\* is full."
    started = []
    monkeypatch.setattr("pages.parts.data.check.start_inspection", started.append)
    button(app, "Try again").click().run()
    assert len(started) == 1


def test_a_check_whose_process_died_says_so(check_in_state, look_at):
    app = look_at(check_in_state(pid=2**22 + 1, pid_started=1.0, background=True))
    assert "process ended before the job was done" in said(app.error)


def test_built_in_data_is_shown_at_once_and_checked_when_asked(open_page):
    app = open_page("data")
    app.segmented_control(key="data_kind").set_value("builtin").run()
    assert not app.exception
    assert "Built in" in said(app.caption)
    assert app.code
    assert button(app, "Check every row")


@pytest.fixture
def built_in(open_page):
    """The page at a built-in task."""

    def opened(task):
        app = open_page("data")
        app.segmented_control(key="data_kind").set_value("builtin").run()
        app.selectbox(key="data_task").set_value(task).run()
        assert not app.exception
        return app

    return opened


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_offered_with_its_sentence_and_licence(built_in, name):
    app = built_in(name)
    assert f"{name.capitalize()}: {TASKS[name].sentence}" in app.selectbox(key="data_task").options
    assert TASKS[name].license in said(app.caption)


def test_the_held_out_part_of_a_task_is_shown_used_and_found_again(built_in):
    app = built_in("chat")
    assert said(app.code).startswith("you make me feel like i am")
    app.segmented_control(key="data_side").set_value("held_out").run()
    assert said(app.code).startswith("What about yesterday?")
    button(app, "Use this data").click().run()
    plan = app.session_state["new_plan"]
    assert (plan["dataset"], plan["split"]) == ("builtin:chat", "held_out")
    app.switch_page("pages/run.py").run()
    assert "split held\\_out" in said(app.markdown)


def test_a_task_whose_package_is_missing_says_so(built_in, monkeypatch):
    monkeypatch.setitem(sys.modules, "babel", None)
    app = built_in("kazakh")
    assert "pip install babel" in said(app.error)


def test_an_upload_is_kept_and_read(home, open_page):
    app = open_page("data")
    app.segmented_control(key="data_kind").set_value("upload").run()
    assert "200 MB" in app.file_uploader[0].label
    content = "\n".join(map(json.dumps, ROWS)).encode()
    app.file_uploader[0].upload("rows.jsonl", content, "application/json").run()
    assert not app.exception
    assert figures(app)["Rows"] == "20"
    assert [path.read_bytes() for path in (home / "uploads").iterdir()] == [content]


@pytest.fixture
def ask_hub(open_page, monkeypatch):
    """Open the page with the name of a hub data set in it; its check runs in this process."""
    monkeypatch.setattr("pages.parts.data.check.start_inspection", inspect_here)

    def opened():
        app = open_page("data")
        app.segmented_control(key="data_kind").set_value("hub").run()
        app.text_input(key="data_hub").set_value("some/data").run()
        app.text_input(key="data_config").set_value("main").run()
        button(app, "Download and check").click().run()
        assert not app.exception
        return app

    return opened


def test_without_a_hub_one_sentence_says_so(ask_hub, monkeypatch):
    monkeypatch.setattr(job, "hub_answers", lambda: False)
    app = ask_hub()
    assert "The hub cannot be reached from this machine" in said(app.error)
    assert button(app, "Try again")


def test_a_hub_data_set_is_fetched_then_shown_and_used(ask_hub, monkeypatch):
    for module in (job, locating):
        monkeypatch.setattr(module, "hub_answers", lambda: True)
    asked = []

    def rows(source, split):
        asked.append((source, split))
        yield from pa.Table.from_pylist(ROWS).to_batches()

    monkeypatch.setattr(fetching, "_hub_batches", rows)
    app = ask_hub()
    assert asked == [("some/data:main", "train")]
    assert said(app.code).startswith("what is 0?")
    assert figures(app)["Rows"] == "20"
    assert read_inspection(key_of(DataChoice(dataset="some/data:main"))).state == "finished"
    button(app, "Use this data").click().run()
    assert app.session_state["new_plan"]["dataset"] == "some/data:main"


def test_a_template_is_filled_in_with_a_live_preview_and_its_names_are_checked(write, look_at):
    app = look_at(write([{"talk": "A: hi", "gist": "a greeting"}] * 2))
    app.segmented_control(key="data_way").set_value("template").run()
    app.text_area(key="data_prompt_template").set_value("Summarize.\n\n{talk}").run()
    app.selectbox(key="data_response_column").set_value("gist").run()
    assert said(app.code).startswith("Summarize.\n\nA: hi a greeting")
    app.text_area(key="data_prompt_template").set_value("{talks}").run()
    assert "no row has 'talks'" in said(app.warning).replace("\\", "")
    assert button(app, "Use this data").disabled


def test_common_columns_are_chosen_at_first_and_conversations_by_another_name_too(write, look_at):
    app = look_at(write([{"id": 1, "Dialogue": "d", "Summary": "s"}] * 2))
    assert said(app.code).startswith("d s")
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    app = look_at(write([{"conversation": talk}] * 2, "other.jsonl"))
    assert said(app.code).startswith("q a")


def test_what_is_not_read_is_named(write, look_at):
    app = look_at(write([{**row, "label": i % 2 == 0, "hint": "h"} for i, row in enumerate(ROWS)]))
    assert "Not read: label, hint" in said(app.caption)
    assert "10 rows with a label false" in said(app.caption)


def test_another_encoding_and_delimiter_can_be_given(tmp_path, look_at):
    path = tmp_path / "a.csv"
    path.write_bytes("问题~回答\n一~二\n".encode("gb18030"))
    app = look_at(path)
    assert "--encoding" in said(app.error)
    app.text_input(key="data_encoding").set_value("gb18030").run()
    app.text_input(key="data_delimiter").set_value("~").run()
    app.selectbox(key="data_prompt_column").set_value("问题").run()
    app.selectbox(key="data_response_column").set_value("回答").run()
    assert said(app.code).startswith("一 二")
    button(app, "Use this data").click().run()
    plan = app.session_state["new_plan"]
    assert (plan["encoding"], plan["delimiter"], plan["prompt_column"]) == ("gb18030", "~", "问题")


def test_a_folder_of_files_is_one_data_set(tmp_path, look_at):
    for name in ("part-2.jsonl", "part-10.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps({**row, "question": name}) + "\n" for row in ROWS))
    app = look_at(tmp_path)
    assert figures(app)["Rows"] == "40"
    assert "2 files: JSON lines" in said(app.caption)
    assert said(app.code).startswith("part-2.jsonl")
