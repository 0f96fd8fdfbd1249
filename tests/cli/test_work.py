"""The process of a run: what it carries out, and its exit code."""

import os

import pytest

from staff_engine.cli.main import main
from staff_engine.errors import DatasetError
from staff_engine.pipelines import coreset as pipeline
from staff_engine.runs import control, stages
from staff_engine.runs.control import read_status
from staff_engine.runs.status import Status, save_status
from tests.helpers.made_cli import ROWS

pytestmark = pytest.mark.usefixtures("staff_home")


def test_work_carries_out_the_plan_and_writes_what_was_ordered(scored, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "execute", lambda folder, reporter: reporter.stage(stages.SELECT, 1))
    control.update_record(scored, delivery=control.Delivery(out=tmp_path / "core.jsonl"))
    assert main(["work", str(scored.folder)]) == 0
    assert read_status(scored).state == "finished"
    assert len((tmp_path / "core.jsonl").read_text().splitlines()) == ROWS // 2


def test_work_verifies_with_the_settings_it_was_started_with(scored, monkeypatch):
    seen = []
    monkeypatch.setattr(
        pipeline, "verify_missing", lambda folder, reporter, settings: seen.append((folder, settings))
    )
    save_status(scored.folder, Status(verify={"strata": 7}))
    assert main(["work", str(scored.folder)]) == 0
    assert seen == [(scored.folder, {"strata": 7})]


@pytest.mark.parametrize("error, code", [(DatasetError("no rows"), 2), (OSError("disk full"), 1)])
def test_work_that_fails_has_the_exit_code_of_its_error(scored, monkeypatch, error, code, capsys):
    def fail(folder, reporter):
        raise error

    monkeypatch.setattr(pipeline, "execute", fail)
    assert main(["work", str(scored.folder)]) == code
    assert (read_status(scored).state, read_status(scored).exit_code) == ("failed", code)


def test_work_that_is_cancelled_ends_with_1(scored, monkeypatch):
    def ask(folder, reporter):
        control.request_cancel(scored)
        reporter.stage(stages.IMPORT)

    monkeypatch.setattr(pipeline, "execute", ask)
    assert main(["work", str(scored.folder)]) == 1
    assert read_status(scored).state == "cancelled"


def test_work_of_one_process_does_not_see_what_started_it(scored, monkeypatch):
    """`accelerate launch` of one process starts `work` in the background, with its variables."""
    seen = []
    started = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "ACCELERATE_MIXED_PRECISION": "bf16"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pipeline, "execute", lambda folder, reporter: seen.append(set(os.environ)))
    assert main(["work", str(scored.folder)]) == 0
    assert not seen[0] & started.keys()
