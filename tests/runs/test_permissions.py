"""Who can read the files of runs: only the user who made them."""

import os
import stat
from pathlib import Path

import pytest

from staff_engine.cli.work import do
from staff_engine.data.sources import keep_upload
from staff_engine.export import downloads
from staff_engine.runs.control import create_run
from staff_engine.runs.folders import Delivery
from staff_engine.runs.results import open_results
from staff_engine.runs.saved_selections import save_selection
from staff_engine.runs.worker import working
from staff_engine.system.background import Jobs, make_folder
from tests.helpers.tiny_run import make_run

LOCKS = {".lock", ".files.lock", ".launch.lock", ".work.lock"}
"""They are empty."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """The user's own: others may read."""
    before = os.umask(0o022)
    yield
    assert os.umask(before) == 0o022, "it is as it was"


def test_a_run_is_for_its_user_and_its_export_for_whom_the_umask_says(tmp_path, monkeypatch, sources, umask):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    made = make_run(tmp_path / "made", sources, epochs=1)
    run = create_run(open_results(made).plan, delivery=Delivery(out=tmp_path / "kept.jsonl"))
    assert mode(run.folder) == mode(run.folder.parent) == 0o700
    with working(run) as reporter:
        do(run, reporter)
    save_selection(run.folder, "mine", {})
    downloads.prepare(run, {})
    files = [path for path in run.folder.rglob("*") if path.is_file() and path.name not in LOCKS]
    assert {path.name: oct(mode(path)) for path in files if mode(path) != 0o600} == {}
    assert len(files) > 20
    assert mode(tmp_path / "kept.jsonl") == mode(tmp_path / "kept.decisions.parquet") == 0o644


def test_uploads_and_jobs_are_for_their_user(tmp_path, monkeypatch, umask):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path))
    path = keep_upload("data.jsonl", b"{}")
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    folder = make_folder(Jobs("inspections", "state.json", dict, "running"), "key", kept=3)
    assert mode(folder) == mode(folder.parent) == 0o700
