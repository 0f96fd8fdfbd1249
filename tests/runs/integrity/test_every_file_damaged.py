"""Every file of a finished run is damaged in five ways: an error that names it, or the same output.

What the commands and the pages read is read; nothing may be another than before without a word.
"""

import io
import shutil

import numpy as np
import pytest
from rich.console import Console

from staff_engine.charts.progress import loss_frame, scored_frame
from staff_engine.cli.tables.runs import runs_table, status_table
from staff_engine.errors import RunError, StaffError
from staff_engine.export.coreset import export_coreset
from staff_engine.runs import control
from staff_engine.runs.integrity.check import find_damage
from staff_engine.runs.integrity.mend import mend
from staff_engine.runs.results import open_results
from staff_engine.runs.saved_selections import damaged_selections, list_saved, save_selection
from staff_engine.runs.score_tables import small_scores
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.samples.columns import sample_columns
from staff_engine.samples.detail import sample_detail
from staff_engine.samples.filters import Filter
from staff_engine.samples.neighbours import embedding_map, nearest
from staff_engine.samples.table import filter_mask, table_page, text_ranks
from tests.helpers.damage import WAYS, damaged
from tests.helpers.made_run import make_finished_run

OF_NO_OUTPUT = {"log.txt", ".files.lock", ".launch.lock"}
FILES = [
    "dataset/facts.json", "dataset/rows.arrow", "dataset/source.jsonl", "embedding/part-00000.parquet",
    "files.json", "fine_tuning.json", "map.npz", "near_duplicates.npz", "plan.json", "selections/mine.json",
    "speculative/part-00000.parquet", "status.json", "summary.json", "timings.json",
    "token_loss/part-00000.parquet", "tokenizer.json", "tokens.arrow", "unscorable.parquet",
    "verification/part-00000.parquet",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("damaged")
        patch.setenv("STAFF_HOME", str(folder / "home"))
        run = make_finished_run(folder, rows=60)
        save_selection(run.folder, "mine", {"strata": 3})
        embedding_map(open_results(run.folder))
        open_results(run.folder).near_duplicates(0.8)
        find_damage(run.folder)
        yield run


@pytest.fixture(scope="module")
def outputs(run):
    return {name: reader(run) for name, reader in READERS.items()}


def _export(run):
    results = open_results(run.folder)
    out = run.folder.parent.parent / "kept.jsonl"
    export_coreset(results, results.select(), results.settings(), out)
    return out.read_bytes(), out.with_name("kept.decisions.parquet").read_bytes()


def _select(run):
    results = open_results(run.folder)
    coresets = [results.select(**how).indices.tolist() for how in ({}, {"strata": 4, "within": "diverse"})]
    return coresets, to_verify(results, strata=20).tolist(), results.summary


def _samples(run):
    results = open_results(run.folder)
    columns = sample_columns(results, results.select())
    mask = filter_mask(results, columns, Filter(text="chess"))
    page = table_page(results.imported.folder, columns, np.arange(20)).to_json()
    ranks = text_ranks(results.imported.folder, "prompt").tolist()
    return mask.tolist(), page, ranks, str(results.unscorable)


def _status(run):
    console = Console(width=200, record=True, file=io.StringIO())
    facts = control.describe(run)
    console.print(status_table(facts), runs_table([facts]))
    return console.export_text(), facts.as_json()


READERS = {
    "select": _select,
    "export": _export,
    "status and list": _status,
    "samples": _samples,
    "detail": lambda run: sample_detail(open_results(run.folder), 3),
    "neighbours": lambda run: [each.tolist() for each in nearest(run.folder, 3)],
    "map": lambda run: embedding_map(open_results(run.folder)).coordinates.tobytes(),
    "losses": lambda run: loss_frame(run.folder).to_json(),
    "scores": lambda run: scored_frame(run.folder).to_json(),
    "near duplicates": lambda run: open_results(run.folder).near_duplicates(0.8).tolist(),
    "methods": lambda run: small_scores(open_results(run.folder)).el2n.tobytes(),
    "selections": lambda run: [(each.name, each.settings) for each in list_saved(run.folder)],
    "timings": lambda run: open_results(run.folder).timings,
}


def _said(name, before, output, run, file):
    """Whether an output that is another than before says so."""
    if name == "losses":
        return not loss_frame(run.folder).size  # the page says that they are not stored
    if name == "selections" and not (run.folder / "selections" / file).exists():
        return True  # as if it had been deleted
    if name == "selections":
        return any(file in sentence for sentence in damaged_selections(run.folder))
    if name == "status and list":
        text, facts = output
        text = _unwrapped(text)
        same = {key: value for key, value in facts.items() if key not in ("damage", "summary", "timings")}
        told = facts["damage"] is not None and file in facts["damage"] and file in text
        if file == "status.json":
            return facts["state"] == "interrupted" and _unwrapped(facts["message"]) in text
        if facts["state"] == "damaged":
            return file == "plan.json" and file in facts["message"]
        return told and same == {key: before[1][key] for key in same}
    return False


def _unwrapped(text):
    """A text without spaces and line breaks: a table breaks its lines where the names of folders end."""
    return "".join(text.split())


def test_the_files_are_all_files_of_a_run(run, outputs):
    found = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    assert found - OF_NO_OUTPUT == set(FILES)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", FILES)
def test_what_is_read_is_as_before_or_an_error_names_the_file(run, outputs, file, way):
    with damaged(run.folder / file, way):
        for name, reader in READERS.items():
            try:
                output = reader(run)
            except StaffError as error:
                text = str(error)
                assert file in text or file.partition("/")[0] in text, f"{name}: {text}"
                assert "\n" not in text
            else:
                different = output != outputs[name]
                assert not different or _said(name, outputs[name], output, run, file.rpartition("/")[2]), name
    assert {name: reader(run) for name, reader in READERS.items()} == outputs


NOT_MENDED = {"files.json", "map.npz", "near_duplicates.npz", "selections/mine.json"}
"""Made again where they are needed, or a person's own."""

LOST_SCORES = {"speculative", "embedding", "token_loss", "verification", "dataset"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", FILES)
def test_resuming_removes_what_is_damaged_and_keeps_the_rest(run, outputs, file, way, tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path))
    copy = control.Run(run.id, tmp_path / "runs" / run.id)
    shutil.copytree(run.folder, copy.folder)
    WAYS[way](copy.folder / file)
    started = []
    monkeypatch.setattr(control, "start", lambda run, **how: started.append(how))
    if file == "plan.json":
        control.resume(copy)  # `start` refuses it
        with pytest.raises(RunError, match=r"plan\.json"):
            control.read_record(copy)
        return
    kept = file in NOT_MENDED or (way, file) in (("remove", "fine_tuning.json"), ("remove", "timings.json"))
    if not kept:
        control.resume(copy)
        assert len(started) == 1
    mend(copy.folder)
    left = find_damage(copy.folder)
    whole = {"summary.json", *(name for name in FILES if name.startswith("dataset/"))}
    assert {damage.name for damage in left} <= whole, left
    if file.partition("/")[0] in LOST_SCORES and not kept:
        assert not (copy.folder / "summary.json").exists(), "it would select from too few scores"
