"""`run`: its plan file, the work followed to its end, and going on after a stop."""

import json
import re
import time
from types import SimpleNamespace

import pytest

from staff_engine.cli import progress
from staff_engine.cli.main import main
from staff_engine.program import COMMAND
from staff_engine.runs import control
from staff_engine.runs.control import list_runs, read_record, read_status
from tests.helpers.made_cli import NEEDED, assert_wrong_input, use_worker

pytestmark = pytest.mark.usefixtures("staff_home")


def only_run() -> control.Run:
    (run,) = list_runs()
    return run


def test_run_follows_the_work_to_its_closing_table(data, monkeypatch, capsys):
    use_worker(monkeypatch, "good")
    assert main(["run", "--dataset", str(data), *NEEDED, "--strata", "7", "--name", "mine"]) == 0
    said = capsys.readouterr()
    record = read_record(only_run())
    assert (record.name, record.plan.strata, record.plan.pruning_rate) == ("mine", 7, 0.9)
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines[0] == f"run {only_run().id}"
    assert re.fullmatch(r"import 603 rows \d\.\d s", lines[1])
    assert re.fullmatch(r"verify 210 samples \d\.\d s", lines[2])
    for line in (
        "samples 600",
        "unscorable 3",
        "strata 50 (31 served)",
        "verified on the target 210",
        "coreset size m 60",
        "scoring everything on the target (estimate) about 1 min 15 s",
    ):
        assert line in lines
    assert any(line.startswith("time of verify ") for line in lines)
    assert said.err == "warning: fewer of the hardest were dropped\n"


def test_options_override_the_plan_file(data, tmp_path, monkeypatch):
    use_worker(monkeypatch, "good")
    plan = {"dataset": str(data), "small": NEEDED[1], "target": NEEDED[3], "strata": 9, "seed": 4}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert main(["run", "--plan", str(tmp_path / "plan.json"), "--seed", "5"]) == 0
    record = read_record(only_run())
    assert (record.plan.strata, record.plan.seed) == (9, 5)
    again = only_run().folder / "plan.json"
    assert main(["run", "--plan", str(again), "--detach"]) == 0
    assert read_record(list_runs()[0]).plan == read_record(list_runs()[1]).plan == record.plan


@pytest.mark.parametrize(
    "content, line",
    [
        ("[1]", "contains a list; it needs an object of settings"),
        ("{", "is not JSON"),
        ('{"stratum": 1}', "unknown setting 'stratum'"),
    ],
)
def test_a_wrong_plan_file_is_named(content, line, tmp_path, capsys):
    (tmp_path / "plan.json").write_text(content)
    assert_wrong_input(["run", "--plan", str(tmp_path / "plan.json")], line, capsys)


def test_a_wrong_input_found_at_work_gives_exit_code_2_and_its_line(data, monkeypatch, capsys):
    use_worker(monkeypatch, "wrong")
    assert main(["run", "--dataset", str(data), *NEEDED]) == 2
    assert capsys.readouterr().err == "error: line 3: 'response' is a list, should be text\n"


def test_any_other_failure_gives_exit_code_1_and_the_log(data, monkeypatch, capsys):
    use_worker(monkeypatch, "broken")
    assert main(["run", "--dataset", str(data), *NEEDED]) == 1
    said = capsys.readouterr().err
    assert f"is failed: ZeroDivisionError: by zero; its log is {only_run().log}" in said
    assert "Traceback" not in said and "Traceback" in only_run().log.read_text()


def test_detached_it_returns_at_once_and_can_be_watched_cancelled_and_resumed(data, monkeypatch, capsys):
    use_worker(monkeypatch, "endless")
    assert main(["run", "--dataset", str(data), *NEEDED, "--detach"]) == 0
    run_id = only_run().id
    assert f"{COMMAND} status {run_id} --follow" in capsys.readouterr().out
    assert main(["delete", run_id, "--yes"]) == 2
    assert "cancel it first" in capsys.readouterr().err
    assert main(["cancel", run_id]) == 0
    assert capsys.readouterr().out == (f"run {run_id} is cancelled; to continue: {COMMAND} resume {run_id}\n")
    use_worker(monkeypatch, "good")
    assert main(["resume", run_id]) == 0
    assert "coreset size m" in capsys.readouterr().out


def test_ctrl_c_cancels_kindly_and_says_how_to_go_on(data, monkeypatch, capsys):
    use_worker(monkeypatch, "endless")

    def interrupt_while_running(seconds: float) -> None:
        if read_status(only_run()).stage == "verify":
            raise KeyboardInterrupt
        time.sleep(seconds)

    clock = SimpleNamespace(sleep=interrupt_while_running, monotonic=time.monotonic)
    monkeypatch.setattr(progress, "time", clock)
    assert main(["run", "--dataset", str(data), *NEEDED]) == 1
    run = only_run()
    assert read_status(run).state == "cancelled"
    said = capsys.readouterr().err
    assert f"run {run.id} is cancelled; to continue: {COMMAND} resume {run.id}" in said
