"""Coresets prepared for download, previews of them, and the command that writes the same."""

import io
import json
import os
import shlex
import zipfile

import pyarrow.parquet as pq
import pytest

from staff_engine.cli.main import main
from staff_engine.errors import PlanError, RunError, StaffError
from staff_engine.export import downloads
from staff_engine.export.coreset import export_coreset
from staff_engine.export.downloads import (
    changed_settings,
    entry_of,
    export_command,
    file_name,
    find_prepared,
    prepare,
    size_words,
    write_out,
    zipped,
)
from staff_engine.export.formats import DEFAULT_FORMAT, EXPORT_FORMATS, ExportFormat
from staff_engine.export.preview import preview_export
from staff_engine.export.writers import JsonTexts, laid_out
from staff_engine.runs.folders import Delivery
from staff_engine.runs.integrity.records import forget
from staff_engine.runs.results import open_results
from staff_engine.system.files import read_checked, write_checked
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return make_finished_run(tmp_path)


def exported(run, out, **changes):
    format, with_scores = changes.pop("format", "jsonl"), changes.pop("with_scores", False)
    results = open_results(run.folder)
    settings = results.settings(**changes)
    export_coreset(results, results.select(**changes), settings, out, format=format, with_scores=with_scores)
    return out


def all_changes(run):
    return {"pruning_rate": 0.5, "strata": 7, "within": "hardest", "seed": 3}


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_a_prepared_file_is_the_exported_one_in_every_format(run, tmp_path, format):
    prepared = prepare(run, {"pruning_rate": 0.5}, format)
    data = prepared.files["coreset"]
    plain = exported(run, tmp_path / data.name, format=format, pruning_rate=0.5)
    assert data.read_bytes() == plain.read_bytes()
    assert prepared.manifest()["format"] == format == prepared.format
    assert prepared.manifest()["settings"]["pruning_rate"] == 0.5
    assert pq.read_table(prepared.files["decisions"]).num_rows == 400
    assert ("entry" in prepared.files) == (format == "llama-factory")
    assert all(path.is_file() for path in prepared.files.values())


def test_prepared_rows_are_the_imported_lines_byte_for_byte(run):
    source = (run.folder / "dataset" / "source.jsonl").read_bytes().splitlines(keepends=True)
    kept = open_results(run.folder).select().indices
    assert prepare(run, {}).files["coreset"].read_bytes() == b"".join(source[row] for row in kept)


def test_preparing_again_writes_nothing(run):
    first = prepare(run, {})
    before = first.files["manifest"].stat().st_mtime_ns
    again = prepare(run, open_results(run.folder).settings())  # all settings, as they are in the plan
    assert again == first
    assert again.files["manifest"].stat().st_mtime_ns == before


def test_other_settings_formats_and_scores_have_other_keys(run):
    keys = {
        prepare(run, {}).key,
        prepare(run, {"seed": 1}).key,
        prepare(run, {}, "csv").key,
        prepare(run, {}, with_scores=True).key,
    }
    assert len(keys) == 4
    assert all(downloads.NAME.fullmatch(key) for key in keys)


def test_scores_that_are_added_make_another_key(run):
    before = prepare(run, {})
    part = run.folder / "verification" / "part-00000.parquet"
    table = pq.read_table(part)
    forget(run.folder, "verification")
    pq.write_table(table.slice(0, table.num_rows - 5), part)
    summary = read_checked(run.folder / "summary.json")
    write_checked(run.folder / "summary.json", {**summary, "verified": table.num_rows - 5})
    after = prepare(run, {})
    assert after.key != before.key
    assert after.manifest()["counts"]["verified"] == before.manifest()["counts"]["verified"] - 5


def test_only_the_exports_used_last_are_kept(run):
    prepared = []
    for seed in range(downloads.KEPT + 2):
        prepared.append(prepare(run, {"seed": seed}))
        os.utime(prepared[-1].folder, (seed, seed))
        if seed == downloads.KEPT - 1:
            prepare(run, {"seed": 0})  # used again: now the newest
    assert prepared[0].whole
    assert not prepared[1].whole and not prepared[2].whole
    assert len([path for path in (run.folder / "exports").iterdir() if path.is_dir()]) == downloads.KEPT


def test_an_export_that_is_not_whole_is_made_again_and_what_a_killed_process_left_goes(run):
    prepared = prepare(run, {})
    content = prepared.files["coreset"].read_bytes()
    prepared.files["coreset"].unlink()
    (run.folder / "exports" / "jsonl-00.part").mkdir()
    with pytest.raises(RunError, match="no longer exists"):
        find_prepared(run.id, prepared.key)
    assert prepare(run, {}).files["coreset"].read_bytes() == content
    assert not (run.folder / "exports" / "jsonl-00.part").exists()


def test_what_cannot_be_exported_leaves_nothing(run):
    with pytest.raises(PlanError, match="unknown export format 'xml'"):
        prepare(run, {}, "xml")
    with pytest.raises(PlanError, match="unknown export format 'xml'"):
        file_name("xml")
    with pytest.raises(PlanError, match="indices contains only row ids"):
        prepare(run, {}, "indices", True)
    with pytest.raises(PlanError, match=r"pruning_rate is 1\.5"):
        prepare(run, {"pruning_rate": 1.5})
    assert not list((run.folder / "exports").glob("*")) if (run.folder / "exports").exists() else True


def test_a_prepared_export_is_found_by_its_names(run):
    prepared = prepare(run, {}, "llama-factory")
    assert find_prepared(run.id, prepared.key) == prepared


@pytest.mark.parametrize(
    ("run_id", "key"),
    [
        ("..", "jsonl-0123456789abcdef"),
        ("../runs", "k"),
        (None, ".."),
        (None, "../../dataset"),
        (None, "jsonl-0123456789ABCDEF"),
        (None, "jsonl-01%2f"),
        (None, ""),
        (None, "k" * 101),
        ("", "k"),
        ("run\n", "k"),
    ],
)
def test_names_of_other_characters_are_refused(run, run_id, key):
    with pytest.raises(RunError, match="allowed: a-z, 0-9 and -"):
        find_prepared(run.id if run_id is None else run_id, key)


def test_runs_and_exports_that_are_not_there_are_named(run):
    with pytest.raises(RunError, match="run 'no-run' does not exist"):
        find_prepared("no-run", "jsonl-0123456789abcdef")
    with pytest.raises(RunError, match="export 'jsonl-0123456789abcdef' no longer exists"):
        find_prepared(run.id, "jsonl-0123456789abcdef")
    (run.folder / "exports" / "other").mkdir(parents=True)
    with pytest.raises(RunError, match="export 'other' no longer exists"):
        find_prepared(run.id, "other")


def test_the_archive_holds_all_files_as_they_are(run):
    prepared = prepare(run, {}, "llama-factory", True)
    pieces = list(zipped(prepared))
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            path.name: path.read_bytes() for path in prepared.files.values()
        }


def test_an_archive_is_whole_though_its_files_are_removed_meanwhile(run, monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK", 1000)
    prepared = prepare(run, {"pruning_rate": 0.0})
    stream = zipped(prepared)
    first = next(stream)
    for path in prepared.files.values():
        path.unlink()
    with zipfile.ZipFile(io.BytesIO(first + b"".join(stream))) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 3


def test_files_are_written_to_a_place_and_replaced_only_when_asked(run, tmp_path):
    out = tmp_path / "mine.jsonl"
    manifest = write_out(run, {"pruning_rate": 0.5}, out)
    assert manifest["counts"]["selected"] == len(out.read_bytes().splitlines())
    assert (tmp_path / "mine.decisions.parquet").exists()
    with pytest.raises(StaffError, match=r"mine\.jsonl already exists"):
        write_out(run, {}, out)
    assert write_out(run, {}, out, replace=True)["counts"]["selected"] == len(out.read_bytes().splitlines())


def test_files_are_not_written_over_the_data_or_to_no_folder(run, tmp_path):
    with pytest.raises(StaffError, match="is the data set itself"):
        write_out(run, {}, tmp_path / "rows.jsonl", replace=True)
    with pytest.raises(StaffError, match="does not exist"):
        write_out(run, {}, tmp_path / "none" / "mine.jsonl")


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize(("format", "with_scores"), [("jsonl", False), ("csv", True)])
def test_the_command_writes_the_same_file(run, tmp_path, changed, format, with_scores):
    plan = open_results(run.folder).plan
    settings = {name: getattr(plan, name) for name in ("strata", "seed")} | (
        all_changes(run) if changed else {}
    )
    changes = changed_settings(plan, settings)
    assert changes == (all_changes(run) if changed else {})
    out = tmp_path / "a file" / "core.set"
    out.parent.mkdir()
    words = shlex.split(export_command(run.id, changes, format, with_scores, out))
    assert words[:3] == ["python", "-m", "staff_engine"]
    assert main(words[3:]) == 0
    prepared = prepare(run, settings, format, with_scores)
    assert out.read_bytes() == prepared.files["coreset"].read_bytes()


def test_the_entry_names_the_file(run):
    results = open_results(run.folder)
    companion = EXPORT_FORMATS["llama-factory"].companion
    content = json.loads(entry_of(companion, "coreset.jsonl", results, results.select()))
    assert content["coreset"]["file_name"] == "coreset.jsonl"


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_340_000, "2.3 MB")]
)
def test_sizes_are_in_words(tmp_path, size, words):
    (tmp_path / "f").write_bytes(b"x" * size)
    assert size_words(tmp_path / "f") == words


def test_every_format_has_a_name_and_a_sentence():
    assert all(name == format.name for name, format in EXPORT_FORMATS.items())
    assert len({format.label for format in EXPORT_FORMATS.values()}) == len(EXPORT_FORMATS)
    assert all(format.sentence.endswith(".") for format in EXPORT_FORMATS.values())


def test_the_default_format_is_the_same_everywhere():
    assert DEFAULT_FORMAT in EXPORT_FORMATS
    assert Delivery(out="coreset").format == DEFAULT_FORMAT


def test_a_format_says_what_it_cannot_carry():
    told = {name for name, format in EXPORT_FORMATS.items() if format.cannot_carry}
    assert told == {"alpaca", "prompt-completion", "messages", "sharegpt", "llama-factory"}
    sentence = (
        "ShareGPT does not include the tool calls next to text, rejected answers, reasoning or labels of bad"
        " answers of a row; JSON lines does."
    )
    assert EXPORT_FORMATS["sharegpt"].cannot_carry == sentence


def test_an_entry_in_the_registry_is_all_that_a_new_format_needs(run, tmp_path, monkeypatch):
    writer = JsonTexts(laid_out(lambda turns: {"texts": [turn["content"] for turn in turns]}), array=None)
    added = ExportFormat("texts", "Texts", "Only the texts.", writer, suffix=".ndjson")
    monkeypatch.setitem(EXPORT_FORMATS, "texts", added)
    prepared = prepare(run, {}, "texts")
    text = prepared.files["coreset"].read_text(encoding="utf-8")
    assert prepared.files["coreset"].name == file_name("texts") == "coreset.ndjson"
    assert list(json.loads(text.splitlines()[0])) == ["texts"]
    assert find_prepared(run.id, prepared.key) == prepared
    results = open_results(run.folder)
    assert text.startswith(preview_export(results, results.select(), "texts"))
    assert main(["export", run.id, "--format", "texts", "--out", str(tmp_path / "texts.ndjson")]) == 0
    assert (tmp_path / "texts.ndjson").read_text(encoding="utf-8") == text


TEXTS = [format for format in EXPORT_FORMATS if format not in ("parquet", "jsonl-zst")]


@pytest.mark.parametrize(
    ("format", "with_scores"),
    [(format, False) for format in TEXTS] + [(format, True) for format in TEXTS if format != "indices"],
)
def test_a_preview_is_the_beginning_of_the_file(run, format, with_scores):
    results = open_results(run.folder)
    selection = results.select()
    text = prepare(run, {}, format, with_scores).files["coreset"].read_text(encoding="utf-8")
    assert text.startswith(preview_export(results, selection, format, with_scores, rows=3))
    assert preview_export(results, selection, format, with_scores, rows=10_000) == text


def test_a_parquet_preview_shows_types_and_rows(run):
    results = open_results(run.folder)
    text = preview_export(results, results.select(), "parquet", True, rows=2)
    lines = text.splitlines()
    assert lines[:2] == ["# question: string", "# answer: string"]
    assert lines[2].startswith("# _staff: struct<row_id: int64")
    first = json.loads(lines[3])
    assert first["_staff"]["row_id"] == results.select().indices[0]
    assert len(lines) == 5


def test_a_long_line_says_how_much_is_left_out(tmp_path, monkeypatch):
    from staff_engine.export import preview

    assert preview._cut("x" * preview.WIDEST) == "x" * preview.WIDEST
    assert preview._cut("x" * (preview.WIDEST + 1500)).endswith("x … (1,500 more characters)")


def test_what_has_no_preview_says_why(run):
    results = open_results(run.folder)
    with pytest.raises(PlanError, match="unknown export format 'xml'"):
        preview_export(results, results.select(), "xml")
    with pytest.raises(PlanError, match="indices contains only row ids"):
        preview_export(results, results.select(), "indices", True)
