"""When a file is hashed, recorded and refused."""

import os
import shutil

import pytest

from staff_engine.errors import RunError, StaffError
from staff_engine.runs import control
from staff_engine.runs.integrity import check, records
from staff_engine.runs.integrity.check import check_files, find_damage
from staff_engine.runs.integrity.records import forget, load_records, record_files
from staff_engine.runs.results import open_results
from staff_engine.runs.status import Status, save_status
from tests.helpers.damage import flip
from tests.helpers.made_run import make_finished_run

PART = "verification/part-00000.parquet"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return make_finished_run(tmp_path, rows=60)


@pytest.fixture
def hashed(monkeypatch):
    """The files that are hashed."""
    names = []
    for module in (check, records):
        monkeypatch.setattr(module, "sha256_of", lambda path: names.append(path.name) or _sha256(path))
    return names


_sha256 = records.sha256_of


def test_a_record_has_size_rows_and_sha256(run):
    record = load_records(run.folder)[PART]
    path = run.folder / PART
    assert (record.bytes, record.sha256) == (path.stat().st_size, _sha256(path))
    assert record.rows == len(open_results(run.folder).verified_ids)
    assert load_records(run.folder)["dataset/rows.arrow"].rows == 60
    assert load_records(run.folder)["dataset/source.jsonl"].rows is None


def test_a_file_is_hashed_again_only_if_it_was_touched(run, hashed):
    open_results(run.folder).select()
    assert hashed == []
    os.utime(run.folder / PART)
    for _ in range(2):
        check_files(run.folder, "verification")
    assert hashed == ["part-00000.parquet"]


def test_a_bit_that_flips_without_a_new_time_is_found_by_the_page_checksum(run):
    path = run.folder / "speculative" / "part-00000.parquet"
    times = path.stat()
    flip(path, 0.02)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(RunError, match=r"part-00000\.parquet is damaged: .*(CRC|checksum)"):
        open_results(run.folder).select()


def test_an_older_run_is_recorded_when_it_is_first_read(run):
    (run.folder / "files.json").unlink()
    open_results(run.folder).select()
    assert PART in load_records(run.folder)
    assert "tokens.arrow" not in load_records(run.folder), "what is not read is not hashed"
    flip(run.folder / PART)
    with pytest.raises(RunError, match=r"part-00000\.parquet differs from what was written"):
        open_results(run.folder).select()


def test_an_older_run_without_its_verification_is_noticed_by_its_summary(run):
    (run.folder / "files.json").unlink()
    (run.folder / PART).unlink()
    with pytest.raises(RunError, match=r"verification has the scores of 0 samples; the run had \d+;"):
        open_results(run.folder).select()


def test_the_cut_source_of_an_older_run_is_noticed_by_its_import(run):
    (run.folder / "files.json").unlink()
    source = run.folder / "dataset" / "source.jsonl"
    source.write_bytes(source.read_bytes()[:2000])
    with pytest.raises(RunError, match=r"source\.jsonl cannot be read: it differs from what was imported"):
        check_files(run.folder, "dataset")


def test_files_of_a_run_at_work_are_not_recorded_by_others(run):
    (run.folder / "files.json").unlink()
    save_status(run.folder, Status(state="running", pid=os.getpid()))
    open_results(run.folder).select()
    assert load_records(run.folder) == {}


def test_a_folder_that_cannot_be_written_is_read_unchecked(run, monkeypatch, caplog):
    (run.folder / "files.json").unlink()
    coreset = open_results(run.folder).select().indices.tolist()
    (run.folder / "files.json").unlink()

    def refuse(*args, **how):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(records, "write_checked", refuse)
    assert open_results(run.folder).select().indices.tolist() == coreset
    assert "are not recorded: [Errno 13] Permission denied" in caplog.text


def test_a_forgotten_file_can_be_written_anew(run):
    forget(run.folder, "verification")
    assert PART not in load_records(run.folder)
    shutil.copy(run.folder / "speculative" / "part-00000.parquet", run.folder / PART)
    record_files(run.folder)
    assert find_damage(run.folder, "verification") == []


def test_a_whole_run_is_not_resumed_and_a_damaged_one_is(run, monkeypatch):
    started = []
    monkeypatch.setattr(control, "start", lambda run, **how: started.append(run))
    with pytest.raises(RunError, match="is finished and whole; there is nothing to resume"):
        control.resume(run)
    (run.folder / PART).unlink()
    control.resume(run)
    assert started == [run]


def test_the_records_are_kept_when_the_folder_moves(run, tmp_path, hashed):
    moved = tmp_path / "moved"
    shutil.copytree(run.folder, moved)  # keeps the times
    open_results(moved).select()
    assert hashed == []
    (moved / PART).unlink()
    with pytest.raises(StaffError, match=f"resume {moved}"):
        open_results(moved).select()
