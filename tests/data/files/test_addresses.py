import fsspec
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.data.files import addresses
from staff_engine.data.files.addresses import files_at
from staff_engine.data.first_rows import first_rows
from staff_engine.data.locating import check_source
from staff_engine.data.sources import find_source, is_on_hub
from staff_engine.errors import DatasetError

LINES = b'{"prompt": "%s 1", "completion": "c"}\n{"prompt": "%s 2", "completion": "c"}\n'


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """A file system in memory with three shards."""
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    system = fsspec.filesystem("memory")
    for number in (1, 2, 10):
        system.pipe(f"/team/part-{number}.jsonl", LINES.replace(b"%s", str(number).encode()))
    system.pipe("/team/README.md", b"about")
    yield system
    system.rm("/team", recursive=True)


def prompts(imported):
    return [turns[0]["content"] for turns in imported.rows["turns"]]


@pytest.mark.parametrize("address", ["memory://team/part-*.jsonl", "memory://team"])
def test_files_at_an_address_are_one_data_set_in_natural_order(memory, tmp_path, address):
    assert prompts(import_dataset(address, tmp_path / "made")) == ["1 1", "1 2", "2 1", "2 2", "10 1", "10 2"]
    assert len(first_rows(address).lines) == 6
    assert not is_on_hub(address)
    assert find_source(f' "{address}" ') == address


def test_a_file_is_copied_once_and_again_when_it_changes(memory, monkeypatch):
    (first,) = files_at("memory://team/part-1.jsonl")
    before = first.stat().st_mtime_ns
    assert files_at("memory://team/part-1.jsonl") == [first]
    assert first.stat().st_mtime_ns == before
    memory.pipe("/team/part-1.jsonl", b"{}\n")
    (second,) = files_at("memory://team/part-1.jsonl")
    assert second != first
    assert second.read_bytes() == b"{}\n"


def test_only_the_newest_copies_are_kept(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(addresses, "KEPT", 2)
    files_at("memory://team/part-*.jsonl")
    assert len(list((tmp_path / "home" / "downloads").iterdir())) == 2


def test_a_local_address_is_read_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINES)
    assert files_at(f"file://{path}") == [path]
    assert import_dataset(f"file://{path}", tmp_path / "made").facts.rows == 2
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("memory://nowhere/a.jsonl", "'memory://nowhere/a.jsonl' does not exist, or has no data files"),
        ("memory://team/README.md", r"unknown file type; allowed: \.jsonl"),
        ("nothing://a/b.jsonl", "cannot be read: Protocol not known: nothing"),
    ],
)
def test_an_address_that_cannot_be_read_says_why(memory, address, says):
    with pytest.raises(DatasetError, match=says):
        check_source(address)


def test_a_package_that_is_missing_is_named(monkeypatch):
    def missing(address):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.url_to_fs", missing)
    with pytest.raises(
        DatasetError, match=r"Install s3fs to access S3; .*pip install 'staff-studio\[remote\]'"
    ):
        check_source("s3://bucket/a.jsonl")
