"""The Export page, in every state of a run, in every format, to download and on this machine."""

import json
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pages.parts.downloads import ROUTES
from staff_engine.export.formats import EXPORT_FORMATS
from staff_engine.program import COMMAND
from staff_engine.runs import saved_selections
from staff_engine.runs.integrity.records import forget
from staff_engine.runs.results import open_results
from tests.helpers.seen import unescaped


def lines_of(run, **changes):
    source = (run.folder / "dataset" / "source.jsonl").read_bytes().splitlines(keepends=True)
    return [source[row] for row in open_results(run.folder).select(**changes).indices]


def button(app, label):
    return next(each for each in app.button if each.label == label)


def links(app):
    return {each.proto.label: each.proto.url for each in app.get("link_button")}


def said(elements):
    return " ".join(each.value for each in elements)


def test_the_first_rows_are_shown_as_they_are(finished_run, open_page):
    app = open_page("export", run=finished_run.id)
    assert not app.exception
    assert app.code[0].value.encode().strip() == b"".join(lines_of(finished_run)[:5]).strip()
    assert not app.code[0].proto.show_line_numbers  # with them, wrapped rows are cut off at the right
    assert "39 of 400" in app.metric[0].value
    assert app.code[-1].value.startswith(f"{COMMAND} export {finished_run.id} --out=")


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled", "interrupted", "damaged"])
def test_a_run_without_scores_says_its_state(run_in_state, open_page, state):
    app = open_page("export", run=run_in_state(state).id)
    assert not app.exception
    assert state in said([*app.info, *app.error])
    assert not app.code


def test_without_a_run_the_page_says_where_to_go(home, open_page):
    app = open_page("export")
    assert not app.exception
    assert "no runs yet" in app.info[0].value


@pytest.mark.parametrize("scores", ["no", "yes"])
@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_every_format_has_a_preview_and_can_be_prepared(finished_run, open_page, format, scores):
    app = open_page("export", run=finished_run.id, export_format=format, export_scores=scores)
    button(app, "Prepare download").click().run()
    assert not app.exception and not app.error
    (download,) = [url for label, url in links(app).items() if label.startswith("Download coreset.")]
    answer = TestClient(Starlette(routes=ROUTES)).get(download)
    assert answer.status_code == 200
    if format not in ("parquet", "jsonl-zst"):
        first = app.code[0].value.strip().removesuffix(",").encode()
        assert answer.content.startswith(first)
    if format != "indices" and scores == "yes":
        assert "_staff" in app.code[0].value


def test_the_page_says_what_a_format_does_not_carry(finished_run, open_page):
    app = open_page("export", run=finished_run.id, export_format="sharegpt")
    assert "ShareGPT does not include the tool calls next to text" in said(app.caption)
    app.selectbox(key="export_format").set_value("json").run()
    assert "does not include" not in said(app.caption)


def test_what_is_downloaded_is_the_coreset_and_its_manifest_is_shown(finished_run, open_page):
    app = open_page("export", run=finished_run.id, pruning_rate=0.5)
    button(app, "Prepare download").click().run()
    found = links(app)
    assert set(found) >= {"All files as zip", "coreset.decisions.parquet", "coreset.jsonl.manifest.json"}
    client = TestClient(Starlette(routes=ROUTES))
    (download,) = [url for label, url in found.items() if label.startswith("Download")]
    assert client.get(download).content == b"".join(lines_of(finished_run, pruning_rate=0.5))
    assert all(client.get(url).status_code == 200 for url in found.values())
    assert json.loads(app.json[0].value)["settings"]["pruning_rate"] == 0.5


def test_a_changed_setting_asks_to_prepare_anew(finished_run, open_page):
    app = open_page("export", run=finished_run.id)
    button(app, "Prepare download").click().run()
    assert links(app)
    app.selectbox(key="export_format").set_value("csv").run()
    assert not links(app)
    assert button(app, "Prepare download")
    assert app.query_params["export_format"] == "csv"


def test_a_format_that_does_not_exist_is_refused_politely(finished_run, open_page):
    app = open_page("export", run=finished_run.id, export_format="xml")
    assert not app.exception
    assert "'xml'" in said(app.warning)
    assert app.session_state["export_format"] == "jsonl"


def test_row_numbers_take_no_scores(finished_run, open_page):
    app = open_page("export", run=finished_run.id, export_format="indices", export_scores="yes")
    assert not app.exception and not app.error
    assert app.toggle(key="export_scores").disabled
    assert "--with-scores" not in app.code[-1].value


def test_samples_still_to_be_verified_make_it_provisional(finished_run, open_page):
    assert not open_page("export", run=finished_run.id).warning
    app = open_page("export", run=finished_run.id, verify_per_stratum=20)
    assert "provisional" in said(app.warning)


def test_a_filter_does_not_change_the_coreset_and_the_page_says_so(finished_run, open_page):
    app = open_page("export", run=finished_run.id, kept="no")
    assert "always contains the whole coreset" in said(app.info)
    assert app.code[0].value.encode().strip() == b"".join(lines_of(finished_run)[:5]).strip()


def test_the_command_has_the_settings_of_the_link(finished_run, open_page):
    app = open_page(
        "export", run=finished_run.id, strata=20, seed=7, export_format="csv", export_scores="yes"
    )
    command = app.code[-1].value
    assert command.startswith(f"{COMMAND} select {finished_run.id} ")
    assert "--strata=20 --seed=7 --export-format=csv --with-scores --out=" in command


def test_files_are_written_to_this_machine_and_not_over_others(finished_run, open_page, tmp_path):
    out = tmp_path / "mine.jsonl"
    app = open_page("export", run=finished_run.id)
    app.text_input(key="export_out_jsonl").set_value(str(out))
    button(app, "Write the files").click().run()
    assert not app.exception and not app.error
    assert str(out) in unescaped(app.success[0].value)
    assert out.read_bytes() == b"".join(lines_of(finished_run))
    assert (tmp_path / "mine.jsonl.manifest.json").exists()
    button(app, "Write the files").click().run()
    assert "already exists" in app.error[0].value
    app.checkbox(key="export_replace").check()
    button(app, "Write the files").click().run()
    assert not app.error


@pytest.mark.parametrize("where", ["no/such/folder/c.jsonl", "."])
def test_a_place_that_cannot_be_written_to_is_said(finished_run, open_page, tmp_path, where):
    app = open_page("export", run=finished_run.id)
    app.text_input(key="export_out_jsonl").set_value(str(tmp_path / where))
    button(app, "Write the files").click().run()
    assert not app.exception
    assert app.error


def test_rows_that_do_not_fit_a_format_are_said_before_anything_is_written(home, tmp_path, open_page):
    from tests.helpers.made_run import make_finished_run

    run = make_finished_run(tmp_path)
    rows = run.folder / "dataset" / "rows.arrow"
    conversation = [{"role": "assistant", "content": "I begin."}]
    _replace_turns(rows, conversation)
    forget(run.folder, "dataset")
    app = open_page("export", run=run.id, export_format="alpaca")
    assert not app.exception
    assert "cannot be written in this format: row " in app.error[0].value
    assert button(app, "Prepare download").disabled


def _replace_turns(path, turns):
    import pyarrow as pa

    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        table = stream.read_all()
    place = table.schema.get_field_index("turns")
    field = table.schema.field(place)
    changed = table.set_column(place, field, pa.array([turns] * table.num_rows, field.type))
    new = path.with_suffix(".new")
    with pa.OSFile(str(new), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(changed)
    new.replace(path)


def test_the_entry_for_llama_factory_is_shown_and_comes_along(finished_run, open_page):
    app = open_page("export", run=finished_run.id, export_format="llama-factory")
    button(app, "Prepare download").click().run()
    assert "dataset_info.json" in links(app)
    assert any('"file_name": "coreset.jsonl"' in code.value for code in app.code)


def test_a_saved_selection_can_be_exported(finished_run, open_page, monkeypatch):
    settings = open_results(finished_run.folder).settings(pruning_rate=0.5)
    kept = SimpleNamespace(id="half", name="Half of it", created=None, settings=settings)
    monkeypatch.setattr(saved_selections, "list_saved", lambda folder: [kept])
    app = open_page("export", run=finished_run.id)
    assert "39 of 400" in app.metric[0].value
    app.selectbox(key="export_selection").set_value("half").run()
    assert not app.exception
    assert "196 of 400" in app.metric[0].value
    assert "--pruning-rate=0.5" in app.code[-1].value


def test_the_coreset_can_be_written_as_a_folder_with_the_command_that_does_the_same(
    finished_run, open_page, tmp_path
):
    app = open_page("export", run=finished_run.id, pruning_rate=0.5)
    next(each for each in app.segmented_control if each.label == "What to write").set_value("folder").run()
    app.text_input(key="export_out_folder").set_value(str(tmp_path / "out"))
    button(app, "Write the files").click().run()
    assert not app.exception and not app.error
    written = (tmp_path / "out/data/train.jsonl").read_bytes()
    assert written == b"".join(lines_of(finished_run, pruning_rate=0.5))
    assert f"--to={tmp_path / 'out'}" in app.code[-1].value


def test_a_file_for_a_training_tool_is_written_where_the_format_has_one(finished_run, open_page, tmp_path):
    app = open_page("export", run=finished_run.id)
    assert "With the formats Messages and LLaMA-Factory, a file for training with TRL" in said(app.caption)
    app = open_page("export", run=finished_run.id, export_format="messages")
    app.selectbox(key="export_recipe_messages").set_value("trl").run()
    app.text_input(key="export_out_messages").set_value(str(tmp_path / "mine.jsonl"))
    button(app, "Write the files").click().run()
    assert not app.exception and not app.error
    assert "mine.trl.py" in unescaped(app.success[0].value)
    assert (tmp_path / "mine.trl.py").read_text().startswith("# Fine-tune ")
    assert "--format=messages --recipe=trl --out=" in app.code[-1].value
