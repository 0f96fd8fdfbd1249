import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from staff_engine.cli import main
from staff_engine.data import fetching, locating
from staff_engine.data.builtin import tasks
from staff_engine.data.inspection import job
from staff_engine.data.inspection.findings import DataChoice
from staff_engine.data.inspection.job import (
    Inspection,
    inspect_here,
    is_small,
    kept_first_rows,
    key_of,
    read_inspection,
    read_problems,
    start_inspection,
    stop_inspection,
)
from staff_engine.system import background
from staff_engine.system.processes import start_time

ROWS = [{"prompt": f"question {i}", "response": f"answer {i}"} for i in range(10)]
GONE = {"pid": 2**22 + 1, "pid_started": 1.0}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def choice(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        "\n".join([*map(json.dumps, ROWS), "{broken", "{broken too", json.dumps({"prompt": "p"})])
    )
    return DataChoice(dataset=str(path))


def end_of(key):
    deadline = time.monotonic() + 60
    while (inspection := read_inspection(key)).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return inspection


def use_endless_process(monkeypatch):
    monkeypatch.setattr(job, "COMMAND", (sys.executable, "-c", "import time; time.sleep(60)"))


def write_state(home, choice, **state):
    folder = home / "inspections" / key_of(choice)
    folder.mkdir(parents=True)
    inspection = Inspection(choice=choice, **state)
    (folder / "inspection.json").write_text(inspection.model_dump_json())
    return folder


def test_an_inspection_in_the_background_ends_with_what_one_here_finds(choice):
    key = start_inspection(choice)
    found = end_of(key)
    assert found.background
    assert found.state == "finished"
    assert found.findings == inspect_here(choice, again=True).findings
    assert found.findings.usable == 10


def test_what_was_found_is_not_looked_for_again(choice, monkeypatch):
    first = inspect_here(choice)
    monkeypatch.setattr(job, "inspect_data", None)
    monkeypatch.setattr(background, "start_in_background", None)
    assert inspect_here(choice) == first
    assert start_inspection(choice) == key_of(choice)


def test_the_key_changes_with_the_file_and_with_how_it_is_read(choice):
    keys = {key_of(choice)}
    keys.add(key_of(replace(choice, limit=5)))
    keys.add(key_of(replace(choice, format="prompt-completion")))
    with Path(choice.dataset).open("a") as file:
        file.write("\n")
    keys.add(key_of(choice))
    assert len(keys) == 4


def test_before_anybody_asked_there_is_none(choice):
    assert read_inspection(key_of(choice)) is None


def test_a_dead_process_reads_as_failed_with_its_last_words(choice, home):
    folder = write_state(home, choice, background=True, **GONE)
    (folder / "log.txt").write_text("some\nKilled: out of memory\n\n")
    found = read_inspection(key_of(choice))
    assert found.state == "failed"
    assert found.message == "the process ended before the job was done: Killed: out of memory"


def test_a_failed_one_is_tried_again(choice, home):
    write_state(home, choice, state="failed", message="x")
    assert inspect_here(choice).state == "finished"


def test_data_that_cannot_be_read_is_a_failure_with_a_sentence(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    found = inspect_here(DataChoice(dataset=str(tmp_path / "a.jsonl")))
    assert found.state == "failed"
    assert "no known record format has the columns 'a'" in found.message


def test_one_that_is_stopped_is_forgotten(choice, home, monkeypatch):
    use_endless_process(monkeypatch)
    key = start_inspection(choice)
    running = read_inspection(key)
    assert running.state == "running"
    stop_inspection(key)
    assert read_inspection(key) is None
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)


def test_one_that_has_just_been_started_is_not_started_again(choice, monkeypatch):
    use_endless_process(monkeypatch)  # it does not come to take the lock
    key = start_inspection(choice)
    first = read_inspection(key)
    assert start_inspection(choice) == start_inspection(choice, again=True) == key
    second = read_inspection(key)
    stop_inspection(key)
    assert second == first


def test_one_in_a_process_of_somebody_elses_is_not_stopped(choice, home):
    write_state(home, choice, pid=os.getpid(), pid_started=start_time(os.getpid()))
    stop_inspection(key_of(choice))
    assert read_inspection(key_of(choice)).state == "running"


def test_only_the_newest_are_kept_and_those_at_work(tmp_path, choice, home, monkeypatch):
    monkeypatch.setattr(job, "KEPT", 2)
    at_work = write_state(home, choice, pid=os.getpid(), pid_started=start_time(os.getpid()))
    os.utime(at_work, (1, 1))
    for number in range(4):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(ROWS[0]))
        inspect_here(DataChoice(dataset=str(path)))
        os.utime(home / "inspections" / key_of(DataChoice(dataset=str(path))), (100 + number,) * 2)
    left = {path.name for path in (home / "inspections").iterdir()}
    newest = key_of(DataChoice(dataset=str(tmp_path / "3.jsonl")))
    assert {at_work.name, newest} < left
    assert len(left) == 3


def test_rows_that_cannot_be_used_are_read_page_by_page_and_by_reason(choice, monkeypatch):
    inspect_here(choice)
    key = key_of(choice)
    assert [problem.number for problem in read_problems(key)] == [11, 12, 13]
    assert [problem.number for problem in read_problems(key, start=1, count=1)] == [12]
    assert [problem.text for problem in read_problems(key, "not JSON")] == ["{broken", "{broken too"]
    assert read_problems(key, "not JSON", start=2) == []


def test_problems_are_found_in_every_part_of_a_long_list(tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join([json.dumps(ROWS[0]), *[f"{{broken {i}" for i in range(2500)]]))
    choice = DataChoice(dataset=str(path))
    inspect_here(choice)
    assert [p.number for p in read_problems(key_of(choice), "not JSON", 1998, 4)] == [2000, 2001, 2002, 2003]


def test_only_files_that_are_read_in_no_time_are_small(choice, tmp_path, monkeypatch):
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(b"x" * 200)
    monkeypatch.setattr(job, "SMALL", 600)
    assert is_small(choice)
    assert not is_small(DataChoice(dataset=str(packed)))
    assert not is_small(DataChoice(dataset="builtin:docstrings"))
    assert not is_small(DataChoice(dataset="openai/gsm8k"))
    assert is_small(DataChoice(dataset=str(packed), limit=100))  # the rest is not read


def test_a_task_is_inspected_again_when_what_it_is_made_with_changes(monkeypatch):
    choice = DataChoice(dataset="builtin:kazakh")
    before = key_of(choice)
    assert key_of(choice) == before != key_of(replace(choice, split="held_out"))
    monkeypatch.setattr(tasks, "version", lambda name: "99")
    assert key_of(choice) != before


def test_without_a_hub_one_kind_sentence_says_so(monkeypatch):
    monkeypatch.setattr(job, "hub_answers", lambda: False)
    found = inspect_here(DataChoice(dataset="openai/gsm8k"))
    assert found.message == (
        "the hub cannot be reached from this machine, so 'openai/gsm8k' cannot be read; "
        "check the connection, or choose a file or a built-in data set"
    )


def test_a_hub_data_set_leaves_its_first_rows_also_where_no_format_fits(monkeypatch):
    for module in (job, locating):
        monkeypatch.setattr(module, "hub_answers", lambda: True)
    rows = [{"title": "t", "body": "b"}] * 3
    batches = pa.Table.from_pylist(rows).to_batches()
    monkeypatch.setattr(fetching, "_hub_batches", lambda source, split: iter(batches))
    choice = DataChoice(dataset="some/data")
    assert inspect_here(choice).state == "failed"
    first = kept_first_rows(key_of(choice))
    assert first.columns == ["title", "body"]
    assert first.unit == "row"
    by_hand = {"format": "columns", "prompt_column": "title", "response_column": "body"}
    assert inspect_here(replace(choice, **by_hand)).findings.usable == 3


def test_the_command_says_what_was_found(choice):
    runner = CliRunner()
    said = runner.invoke(main.app, ["inspect", "--dataset", choice.dataset])
    assert said.exit_code == 0
    assert "13 rows, 10 usable" in said.output
    assert "2 rows cannot be used: not JSON" in said.output
    found = json.loads(runner.invoke(main.app, ["inspect", "--dataset", choice.dataset, "--json"]).output)
    assert (found["rows"], found["usable"]) == (13, 10)


def test_the_command_refuses_what_cannot_be_read_with_a_line(capsys, tmp_path):
    assert main.main(["inspect", "--dataset", str(tmp_path / "gone.jsonl")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main.main(["inspect", "--dataset", "a.jsonl", "--limit", "1"]) == 2
    assert "limit is '1'" in capsys.readouterr().err
    assert main.main(["inspect"]) == 2
    assert "dataset is missing" in capsys.readouterr().err
