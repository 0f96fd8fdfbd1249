"""The server's route for prepared exports."""

import hashlib
import io
import zipfile

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pages.parts.downloads import ARCHIVE, ROUTES, address
from staff_engine.export.downloads import prepare


@pytest.fixture
def client():
    return TestClient(Starlette(routes=ROUTES))


def test_the_coreset_comes_byte_for_byte_as_an_attachment(finished_run, client):
    prepared = prepare(finished_run, {})
    answer = client.get(address(prepared))
    assert answer.status_code == 200
    assert answer.content == prepared.files["coreset"].read_bytes()
    assert hashlib.sha256(answer.content).hexdigest() == prepared.manifest()["files"][0]["sha256"]
    assert answer.headers["content-disposition"] == 'attachment; filename="coreset.jsonl"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize("part", ["manifest", "decisions", "entry"])
def test_the_files_beside_it_come_too(finished_run, client, part):
    prepared = prepare(finished_run, {}, "llama-factory")
    answer = client.get(address(prepared, part))
    assert answer.content == prepared.files[part].read_bytes()
    assert prepared.files[part].name in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_all_files_come_in_one_archive(finished_run, client):
    prepared = prepare(finished_run, {}, "csv", True)
    answer = client.get(address(prepared, ARCHIVE))
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="coreset-{finished_run.id}.zip"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert sorted(archive.namelist()) == sorted(path.name for path in prepared.files.values())
        assert archive.read("coreset.csv") == prepared.files["coreset"].read_bytes()


def test_a_part_of_the_file_can_be_asked_for(finished_run, client):
    prepared = prepare(finished_run, {})
    answer = client.get(address(prepared), headers={"Range": "bytes=10-19"})
    assert answer.status_code == 206
    assert answer.content == prepared.files["coreset"].read_bytes()[10:20]


def test_what_is_not_there_is_a_sentence_and_404(finished_run, client):
    prepared = prepare(finished_run, {})
    for path, words in (
        ("/download/no-such-run/jsonl-0123456789abcdef", "Run 'no-such-run' does not exist."),
        (f"/download/{finished_run.id}/jsonl-0123456789abcdef", "no longer exists; prepare it again"),
        (
            address(prepared, "entry"),
            "Unknown part 'entry' of an export; it has coreset, manifest, decisions and zip.",
        ),
        (address(prepared, "plan.json"), "Unknown part 'plan.json' of an export"),
    ):
        answer = client.get(path)
        assert answer.status_code == 404
        assert words in answer.text
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/download/../../etc/passwd",
        "/download/{run}/..",
        "/download/{run}/../plan.json",
        "/download/{run}/%2e%2e",
        "/download/{run}/%2e%2e%2fplan.json",
        "/download/{run}/..%2f..%2fplan.json",
        "/download/%2e%2e/{key}",
        "/download/{run}%2fexports/{key}",
        "/download/{run}/{key}%2fcoreset.jsonl",
        "/download/{run}/{key}/..%2f..%2f..%2fplan.json",
        "/download/{run}/{key}/coreset.jsonl",
        "/download/{run}/%00",
        "/download/{run}/{key}%0a",
        "/download/{run}/{KEY}",
        "/download/~/{key}",
        "/download/%2fetc/passwd",
    ],
)
def test_no_path_leads_anywhere_else(finished_run, client, path):
    key = prepare(finished_run, {}).key
    answer = client.get(path.format(run=finished_run.id, key=key, KEY=key.upper()))
    assert answer.status_code == 404
    assert b"dataset" not in answer.content and b"root:" not in answer.content


def test_nothing_is_written_through_the_route(finished_run, client):
    path = address(prepare(finished_run, {}))
    for ask in (client.post, client.put, client.delete):
        assert ask(path).status_code == 405
