"""A disk that is full: the run says so, leaves nothing half written, and goes on when there is room."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from staff_engine.cli import main as command
from staff_engine.cli.work import do
from staff_engine.runs.control import Run, read_status
from staff_engine.runs.folders import Delivery, create_run
from staff_engine.runs.results import open_results
from staff_engine.runs.worker import working
from staff_engine.scoring import parts
from staff_engine.system import disk, files
from staff_engine.system.disk import clear_parts, full_disk
from tests.helpers.tiny_run import contents, make_run

FULL = "no space left in {} ("

WRITTEN = [
    "dataset", "tokens.arrow", "unscorable.parquet", "fine_tuning.json", "adapter", "embedding/part-",
    "token_loss/part-", "speculative/part-00001", "target_tuning.parquet", "target_adapter",
    "verification/part-", "summary.json", "timings.json", "kept.jsonl", "kept.jsonl.manifest.json",
]  # fmt: skip
"""What a run writes, in its order: each through `files.replaced` or `files.new_folder`."""


@pytest.fixture
def run(tmp_path, monkeypatch, sources):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(parts, "PART_SECONDS", 0)
    made = make_run(tmp_path / "made", sources, tune_target=8, epochs=1, strata=4)
    delivery = Delivery(out=tmp_path / "kept.jsonl")
    return create_run(open_results(made).plan, delivery=delivery)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, sources):
    from staff_engine.pipelines import coreset as pipeline
    from tests.helpers.tiny_run import Watch

    folder = make_run(tmp_path_factory.mktemp("whole"), sources, tune_target=8, epochs=1, strata=4)
    pipeline.execute(folder, Watch())
    return folder


def full_at(monkeypatch, name):
    """Let writing files of this name fail as on a full disk, after they are written in part."""

    def rename(part, path):
        if f"/{name}" in path.as_posix():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        _rename(part, path)

    for module in ("files", "steps"):
        target = files if module == "files" else __import__("staff_engine.pipelines.steps", fromlist=["x"])
        monkeypatch.setattr(target, "rename_flushed", rename)


_rename = files.rename_flushed


def work(run):
    with working(run) as reporter:
        do(run, reporter)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_state_says_so_and_the_run_goes_on_when_there_is_room(run, whole, tmp_path, name):
    with pytest.MonkeyPatch.context() as patch:
        full_at(patch, name)
        if name == "fine_tuning.json":  # written often, and so not flushed
            patch.setattr(Path, "replace", _refusing(Path.replace, name))
        with pytest.raises(OSError, match="No space left"):
            work(run)
    status = read_status(run)
    assert status.state == "failed" and status.message.startswith(FULL.format(run.folder))
    left = [path.name for path in tmp_path.rglob("*.part")]
    assert left == [] and not (run.folder / disk.RESERVE_FILE).exists()
    work(run)
    assert read_status(run).state == "finished"
    np.testing.assert_array_equal(contents(whole)[-1], contents(run.folder)[-1])
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == len(contents(whole)[-1])


def _refusing(replace, name):
    def refuse(self, target):
        if name in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return replace(self, target)

    return refuse


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError('Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "…" })'),
        OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"),
    ],
)
def test_how_libraries_name_a_full_disk(error, tmp_path):
    assert full_disk(error, tmp_path).startswith(FULL.format(tmp_path))
    try:
        raise ValueError("the table cannot be written") from error
    except ValueError as later:
        assert full_disk(later, tmp_path) is not None


def test_another_error_is_a_full_disk_only_if_the_disk_is_full(tmp_path, monkeypatch):
    error = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    assert full_disk(error, tmp_path) is None
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    assert (
        full_disk(error, tmp_path)
        == f"no space left in {tmp_path} (0 bytes free); free some space and try again"
    )


def test_what_a_killed_process_left_is_cleared_and_what_a_live_one_writes_is_kept(tmp_path):
    gone, alive = tmp_path / "a.parquet.4194305.part", tmp_path / f"b.json.{os.getppid()}.part"
    half, export = tmp_path / "adapter.part", tmp_path / "exports" / "x.part"
    for folder in (half, export):
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").touch()
    gone.touch(), alive.touch()
    clear_parts(tmp_path)
    assert [path.exists() for path in (gone, half, alive, export)] == [False, False, True, True]


def test_a_command_says_it_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path))

    def refuse():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(command.control, "list_runs", refuse)
    assert command.main(["list"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {FULL.format(tmp_path)}")


@pytest.mark.long
@pytest.mark.parametrize("size", [200, 300, 450, 700])
def test_a_small_disk_that_fills_up(whole, tmp_path, monkeypatch, sources, size):
    """A run in a file system of so many kB, then in the same with more room."""
    monkeypatch.setattr(parts, "PART_SECONDS", 0)
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", place], check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    try:
        monkeypatch.setenv("STAFF_HOME", str(place))
        made = make_run(tmp_path / "made", sources, tune_target=8, epochs=1, strata=4)
        run = create_run(open_results(made).plan)
        with pytest.raises(Exception) as error:
            work(run)
        status = read_status(run)
        assert (status.state, status.message[:13]) == ("failed", "no space left"), error.value
        assert [path for path in place.rglob("*.part") if path.name != "status.json"] == []
        subprocess.run(["mount", "-o", "remount,size=50m", place], check=True)
        work(Run(run.id, run.folder))
        np.testing.assert_array_equal(contents(whole)[-1], contents(run.folder)[-1])
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
