"""What the tests of the command line start: a run of a small data set, whose process does no work."""

import json
import re
import sys
from pathlib import Path

from staff_engine.cli.main import main
from staff_engine.runs import control
from staff_engine.runs.control import list_runs

ROWS = 60
SUMMARY = {
    "samples": 600,
    "unscorable": 3,
    "strata": 50,
    "strata_served": 31,
    "verified": 210,
    "to_verify": 0,
    "coreset_size": 60,
    "verify_seconds_per_sample": 0.1,
    "full_target_seconds_estimate": 75.0,
    "warnings": ["fewer of the hardest were dropped"],
}

FAKE_WORKER = """
import json, sys, time
from pathlib import Path
from staff_engine.errors import DatasetError
from staff_engine.runs import stages
from staff_engine.runs.folders import Run
from staff_engine.runs.worker import working

how, summary, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
with working(Run(folder.name, folder)) as reporter:
    reporter.stage(stages.IMPORT)
    reporter.advance(603)
    reporter.stage(stages.VERIFY, 210)
    if how == "wrong":
        raise DatasetError("line 3: 'response' is a list, should be text")
    if how == "broken":
        raise ZeroDivisionError("by zero")
    while how == "endless":
        time.sleep(0.01)
        reporter.advance(0)
    reporter.advance(210)
    (folder / "summary.json").write_text(summary)
"""

NEEDED = ("--small", "builtin:llama-nano", "--target", "builtin:llama-nano")


def use_worker(monkeypatch, how: str) -> None:
    monkeypatch.setattr(control, "WORKER", (sys.executable, "-c", FAKE_WORKER, how, json.dumps(SUMMARY)))


def write_data(folder: Path) -> Path:
    """A data set of `ROWS` rows."""
    path = folder / "data.jsonl"
    rows = [{"prompt": f"What is {i}?", "response": f"It is {i}."} for i in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def assert_wrong_input(arguments: list[str], line: str, capsys) -> None:
    """Exit code 2, one line on standard error, and no run is left behind."""
    before = list_runs()
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert re.search(line, said.err), said.err
    assert list_runs() == before
