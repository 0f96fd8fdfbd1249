import json
import shutil

import numpy as np
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.runs.integrity.records import forget
from staff_engine.runs.results import open_results
from staff_engine.samples.columns import sample_columns
from staff_engine.samples.detail import why
from staff_engine.samples.neighbours import map_coordinates
from staff_engine.samples.table import SORTS
from tests.helpers.made_run import UNSCORABLE, make_finished_run

ROWS = 400


@pytest.fixture
def columns(finished_run):
    results = open_results(finished_run.folder)
    return sample_columns(results, results.select())


def texts(app):
    """All that a page says."""
    kinds = (app.markdown, app.caption, app.text, app.info, app.warning, app.error, app.title, app.header)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def shown(app):
    """Row ids in the table, which is the first one."""
    assert not app.exception, [error.value for error in app.exception]
    return app.dataframe[0].value["row_id"].tolist()


class TestTable:
    def test_begins_with_the_first_rows_and_says_how_many_there_are(self, open_page, finished_run):
        app = open_page("samples", run=finished_run.id)
        assert shown(app) == list(range(25))
        assert "Rows 1 to 25 of 400" in texts(app)

    def test_says_first_what_a_narrow_page_has_room_for(self, open_page, finished_run):
        app = open_page("samples", run=finished_run.id)
        order = list(app.dataframe[0].proto.column_order)
        assert order[:5] == ["row_id", "kept", "score", "stratum", "prompt"]

    def test_a_link_brings_back_page_order_and_filter(self, open_page, finished_run, columns):
        app = open_page(
            "samples",
            run=finished_run.id,
            samples_sort="score",
            samples_order="descending",
            samples_page=2,
            kept="no",
        )
        scores = np.where(columns.kept, np.nan, columns.speculative)
        expected = np.argsort(-scores, kind="stable")[25:50]
        assert shown(app) == expected.tolist()
        assert app.session_state["samples_page"] == 2

    @pytest.mark.parametrize("sort", SORTS)
    def test_can_be_sorted_by_every_column(self, open_page, finished_run, sort):
        app = open_page("samples", run=finished_run.id, samples_sort=sort)
        assert len(shown(app)) == 25
        assert sort in app.dataframe[0].value.columns

    def test_another_order_begins_at_the_first_page(self, open_page, finished_run):
        app = open_page("samples", run=finished_run.id, samples_page=3)
        app.selectbox(key="samples_sort").select("tokens").run()
        assert app.session_state["samples_page"] == 1
        assert "Rows 1 to 25" in texts(app)

    def test_rows_that_cannot_be_scored_are_there_with_their_reason(self, open_page, finished_run):
        app = open_page("samples", run=finished_run.id, scorable="no")
        assert shown(app) == list(range(ROWS - UNSCORABLE, ROWS))
        assert set(app.dataframe[0].value["why"]) == {"unscorable: no response"}

    def test_a_page_or_a_column_that_is_not_there_is_brought_back_into_the_table(
        self, open_page, finished_run
    ):
        app = open_page("samples", run=finished_run.id, samples_page=99, samples_sort="colour")
        assert shown(app) == list(range(375, 400))


class TestFilter:
    def test_its_widgets_change_what_all_pages_show(self, open_page, finished_run, columns):
        app = open_page("samples", run=finished_run.id)
        app.text_input(key="filter_edit_text").set_value("CHESS").run()
        app.segmented_control(key="filter_edit_kept").set_value("yes").run()
        passing = [row for row in range(ROWS) if row % 8 == 4 and columns.kept[row]]
        assert shown(app) == passing[:25]
        assert app.session_state["filter"].text == "CHESS" and app.session_state["filter"].kept is True
        app.segmented_control(key="filter_edit_kept").set_value("all").run()
        assert app.session_state["filter"].kept is None

    def test_a_range_may_be_open_at_one_end(self, open_page, finished_run, columns):
        app = open_page("samples", run=finished_run.id)
        app.number_input(key="filter_edit_score_from").set_value(2.0).run()
        assert shown(app) == np.flatnonzero(columns.speculative >= 2)[:25].tolist()
        app.number_input(key="filter_edit_score_from").set_value(None).run()
        assert app.session_state["filter"].empty

    def test_strata_can_be_chosen_and_the_widgets_show_what_a_link_says(
        self, open_page, finished_run, columns
    ):
        app = open_page("samples", run=finished_run.id, strata_in="1-2", tokens_in="10..20")
        assert app.multiselect(key="filter_edit_strata").value == [1, 2]
        assert app.number_input(key="filter_edit_tokens_to").value == 20
        app.multiselect(key="filter_edit_strata").set_value([-1]).run()
        passing = (columns.strata == -1) & (columns.response_tokens >= 10) & (columns.response_tokens <= 20)
        assert shown(app) == np.flatnonzero(passing)[:25].tolist()

    def test_one_that_nothing_passes_says_what_to_do(self, open_page, finished_run):
        app = open_page("samples", run=finished_run.id, text="no such words")
        assert not app.exception and not app.dataframe
        assert "Remove part of the filter" in texts(app)


class TestSample:
    def test_a_link_opens_it(self, open_page, finished_run, columns):
        results = open_results(finished_run.folder)
        app = open_page("samples", run=finished_run.id, row=17)
        said = texts(app)
        assert not app.exception and "Row 17" in said
        assert why(columns, results.select(), 17) in said
        assert "What is number 17 about tea?" in said
        assert any("nats" in html.value for html in app.html)
        assert "others" in said and "Similar samples" in said

    def test_previous_and_next_go_by_the_tables_order(self, open_page, finished_run, columns):
        order = np.argsort(columns.speculative, kind="stable")
        app = open_page("samples", run=finished_run.id, samples_sort="score", row=int(order[10]))
        app.button(key="sample_next").click().run()
        assert app.session_state["row"] == order[11]
        app.button(key="sample_previous").click().run().button(key="sample_previous").click().run()
        assert app.session_state["row"] == order[9]

    def test_the_first_has_none_before_it(self, open_page, finished_run):
        app = open_page("samples", run=finished_run.id, row=0)
        assert app.button(key="sample_previous").disabled
        assert not app.button(key="sample_next").disabled

    def test_one_that_the_filter_hides_can_still_be_read(self, open_page, finished_run):
        app = open_page("samples", run=finished_run.id, row=399, scorable="yes")
        assert "This sample does not pass the filter" in texts(app)
        assert "It cannot be scored: no response." in texts(app)

    def test_its_text_is_never_markup(self, open_page, home, tmp_path):
        run = make_finished_run(tmp_path)
        evil = "<img src=x onerror=alert(1)> **bold** $x$ :material/home:"
        source = run.folder / "dataset" / "source.jsonl"
        lines = source.read_text(encoding="utf-8").splitlines()
        lines[3] = json.dumps({"question": evil, "answer": evil})
        changed = tmp_path / "changed.jsonl"
        changed.write_text("\n".join(lines) + "\n", encoding="utf-8")
        shutil.rmtree(run.folder / "dataset")
        import_dataset(str(changed), run.folder / "dataset")
        forget(run.folder, "dataset")
        (run.folder / "tokenizer.json").unlink()
        forget(run.folder, "tokenizer.json")
        app = open_page("samples", run=run.id, row=3)
        assert [element.value for element in app.text].count(evil) == 2
        assert not any(evil in str(element.value) for kind in (app.markdown, app.caption) for element in kind)
        assert "has no tokenizer file" in texts(app)

    def test_a_row_that_is_not_there_is_refused(self, open_page, finished_run):
        app = open_page("samples", run=finished_run.id, row=5000)
        assert "The link's row is 5,000" in texts(app)
        assert app.session_state["row"] is None and shown(app)

    def test_runs_from_before_say_what_they_did_not_keep(self, open_page, finished_run):
        shutil.rmtree(finished_run.folder / "token_loss")
        shutil.rmtree(finished_run.folder / "embedding")
        forget(finished_run.folder, "token_loss", "embedding")
        app = open_page("samples", run=finished_run.id, row=17)
        assert not app.exception
        assert "no token losses" in texts(app) and "no embeddings" in texts(app)


class TestMap:
    def figure(self, app):
        return json.loads(app.get("plotly_chart")[0].proto.spec)

    @pytest.mark.parametrize("color, traces", [("stratum", 2), ("score", 1), ("kept", 2)])
    def test_shows_every_sample_that_has_a_place(self, open_page, finished_run, color, traces):
        app = open_page("samples", run=finished_run.id, samples_view="map", map_color=color)
        assert not app.exception
        assert len(self.figure(app)["data"]) == traces

    def test_an_area_of_it_is_a_filter_like_the_others(self, open_page, finished_run):
        coordinates = map_coordinates(open_results(finished_run.folder))
        middle = float(np.nanmedian(coordinates[:, 0]))
        app = open_page("samples", run=finished_run.id, map_x_in=f"-1e9..{middle:.9g}")
        expected = np.flatnonzero(coordinates[:, 0] <= np.float64(f"{middle:.9g}"))
        assert shown(app) == expected[:25].tolist()

    def test_a_run_without_embeddings_says_so(self, open_page, finished_run):
        shutil.rmtree(finished_run.folder / "embedding")
        forget(finished_run.folder, "embedding")
        app = open_page("samples", run=finished_run.id, samples_view="map")
        assert not app.exception and "no map" in texts(app)


class TestStates:
    def test_without_a_run_it_says_where_to_begin(self, open_page):
        app = open_page("samples")
        assert not app.exception and app.info and not app.dataframe

    @pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled", "interrupted", "damaged"])
    def test_a_run_without_scores_says_its_state(self, open_page, run_in_state, state):
        run = run_in_state(state)
        app = open_page("samples", run=run.id)
        assert not app.exception and not app.dataframe
        assert app.info or app.error or app.warning

    def test_another_run_shows_its_own_rows(self, open_page, finished_run, tmp_path):
        (tmp_path / "other").mkdir()
        other = make_finished_run(tmp_path / "other", 60, seed=1)
        app = open_page("samples", run=finished_run.id, samples_page=9)
        assert shown(app)[0] == 200
        app.query_params["run"] = other.id
        assert shown(app.run()) == list(range(50, 60))
