"""What the tests of the command line start: a run of a small data set, whose process does no work."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from staff_engine.cli.main import main
from staff_engine.data.dataset import import_dataset
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.control import create_run, list_runs
from staff_engine.runs.status import Status, save_status
from staff_engine.system.files import write_json

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

SCORED = {**SUMMARY, "samples": ROWS, "verified": ROWS}

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


def make_scored(data, rows, **settings):
    """A run that has all its scores, made without a model."""
    run = create_run(
        Plan.make(dataset=str(data), small="small", target="target", strata=5, **settings), name="scored"
    )
    import_dataset(str(data), run.folder / "dataset")
    effort = np.linspace(1, 2, rows)
    columns = {"row_id": np.arange(rows), "effort": effort, "seconds": effort * 0}
    columns |= dict.fromkeys(("loss", "el2n", "entropy"), effort)
    columns |= {name: np.full(rows, 4) for name in ("prompt_tokens", "response_tokens")}
    for name in ("speculative", "verification"):
        (run.folder / name).mkdir()
        pq.write_table(pa.table(columns), run.folder / name / "part-00000.parquet")
    reasons = pa.table({"row_id": pa.array([], pa.int64()), "reason": pa.array([], pa.string())})
    pq.write_table(reasons, run.folder / "unscorable.parquet")
    write_json(run.folder / "summary.json", {**SCORED, "samples": rows, "verified": rows})
    write_json(run.folder / "timings.json", {"fine-tune": 30.0, "speculate": 6.0})
    save_status(run.folder, Status(state="finished", exit_code=0))
    return run


def assert_wrong_input(arguments: list[str], line: str, capsys) -> None:
    """Exit code 2, one line on standard error, and no run is left behind."""
    before = list_runs()
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert re.search(line, said.err), said.err
    assert list_runs() == before
