import json

import numpy as np
import pytest

from staff_engine.data.dataset import import_dataset
from staff_engine.data.rows import selected_turns
from staff_engine.errors import PlanError
from staff_engine.runs.results import open_results
from staff_engine.samples import table
from staff_engine.samples.columns import sample_columns
from staff_engine.samples.filters import Filter
from tests.helpers.made_run import UNSCORABLE, make_finished_run


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return open_results(make_finished_run(tmp_path, 60).folder)


@pytest.fixture
def columns(results):
    return sample_columns(results, results.select())


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Import conversations; two rows to a batch, so that a batch is never all there is."""
    monkeypatch.setattr("staff_engine.data.dataset.CHUNK", 2)

    def make(*conversations):
        source = tmp_path / "chats.jsonl"
        rows = [
            {"messages": [{"role": role, "content": text} for role, text in turns]} for turns in conversations
        ]
        source.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
        import_dataset(str(source), tmp_path / "imported")
        return tmp_path / "imported"

    return make


CHATS = (
    [("system", "Be Brief"), ("user", "zebra?"), ("assistant", "no")],
    [("user", "Ähre (50 %)"), ("assistant", "b.*"), ("user", "more"), ("assistant", "last")],
    [("user", "apple"), ("assistant", "Zoo")],
    [("user", ""), ("assistant", "line one\nline two")],
    [("user", "apple"), ("assistant", "zoo")],
)


class TestTextMask:
    @pytest.mark.parametrize("text", ["apple", "ZOO", "ähre", "(50 %)", ".*", "brief", "line two", "nowhere"])
    def test_finds_a_text_in_any_turn_as_a_plain_search_does(self, imported, text):
        folder = imported(*CHATS)
        expected = [any(text.lower() in said.lower() for _, said in turns) for turns in CHATS]
        assert table.text_mask(folder, text).tolist() == expected

    def test_rows_without_turns_have_no_text(self, results):
        mask = table.text_mask(results.imported.folder, "number")
        assert mask.tolist() == [
            any("number" in turn["content"] for turn in turns)
            for _, turns in selected_turns(results.imported.folder, np.arange(60))
        ]

    def test_the_filter_of_a_page_joins_text_with_the_rest(self, results, columns):
        chosen = Filter(text="TEA", kept=True)
        expected = table.text_mask(results.imported.folder, "tea") & columns.kept
        assert table.filter_mask(results, columns, chosen).tolist() == expected.tolist()
        assert expected.any()

    def test_an_area_of_the_map_holds_only_samples_with_a_place_on_it(self, results, columns):
        everywhere = Filter(map_x=(-1e9, 1e9), map_y=(-1e9, 1e9))
        mask = table.filter_mask(results, columns, everywhere)
        assert mask.tolist() == columns.scorable.tolist()


class TestSorting:
    def test_prompts_are_the_first_of_the_user_and_responses_the_last_of_the_assistant(self, imported):
        folder = imported(*CHATS)
        assert table.text_ranks(folder, "prompt").tolist() == [3, 4, 2, 1, 2]
        assert table.text_ranks(folder, "response").tolist() == [3, 1, 4, 2, 4]

    @pytest.mark.parametrize("sort", [name for name in table.SORTS if name not in table.TEXTS])
    @pytest.mark.parametrize("descending", [False, True])
    def test_rows_stand_as_pythons_own_sort_puts_them(self, columns, sort, descending):
        values = {
            "row_id": range(len(columns)),
            "score": columns.speculative,
            "verification": columns.verification,
            "stratum": [stratum if stratum >= 0 else np.nan for stratum in columns.strata],
            "loss": columns.loss,
            "tokens": [
                count if scorable else np.nan
                for count, scorable in zip(columns.response_tokens, columns.scorable, strict=True)
            ],
            "kept": columns.kept,
        }[sort]
        sign = -1 if descending else 1
        keys = [
            (bool(np.isnan(value)), sign * value if value == value else 0) for value in map(float, values)
        ]
        expected = sorted(range(len(columns)), key=lambda row: (*keys[row], row))
        everything = np.ones(len(columns), dtype=bool)
        found = table.sorted_rows(columns, everything, sort=sort, descending=descending)
        assert found.tolist() == expected

    def test_only_rows_that_pass_are_there(self, columns):
        rows = table.sorted_rows(columns, columns.kept, sort="score")
        assert sorted(rows.tolist()) == np.flatnonzero(columns.kept).tolist()

    def test_a_text_needs_its_ranks(self, columns):
        with pytest.raises(TypeError, match="prompt"):
            table.sorted_rows(columns, columns.kept, sort="prompt")

    def test_an_unknown_column_is_an_error_with_those_there_are(self, imported, columns):
        with pytest.raises(PlanError, match=r"sort is 'colour'; allowed: row_id, score, .*, response"):
            table.sorted_rows(columns, columns.kept, sort="colour")
        with pytest.raises(PlanError, match="text is 'system'; allowed: prompt, response"):
            table.text_ranks(imported(*CHATS), "system")


class TestTablePage:
    def test_rows_come_in_the_order_asked_for_with_what_is_known_of_them(self, results, columns):
        rows = np.array([41, 3, 59])
        page = table.table_page(results.imported.folder, columns, rows)
        assert page["row_id"].tolist() == [41, 3, 59]
        assert page["prompt"].tolist()[:2] == [
            "What is number 41 about tea?",
            "What is number 3 about weather?",
        ]
        assert page["score"].tolist()[:2] == columns.speculative[rows[:2]].tolist()
        assert page["kept"].tolist() == columns.kept[rows].tolist()

    def test_a_row_that_cannot_be_scored_is_there_with_its_reason(self, results, columns):
        row = len(columns) - UNSCORABLE
        page = table.table_page(results.imported.folder, columns, np.array([row, 0]))
        assert page["why"][0] == "unscorable: no response"
        assert page[["score", "stratum", "loss", "tokens"]].isna().all(axis=1).tolist() == [True, False]

    def test_no_more_than_a_preview_goes_to_the_browser(self, imported):
        folder = imported([("user", "x" * 9999), ("assistant", "a\n\n  b")])
        turns = next(turns for _, turns in selected_turns(folder, np.array([0])))
        assert len(table.preview(turns[0]["content"])) == table.PREVIEW
        assert table.preview(turns[0]["content"]).endswith("x…")
        assert table.preview(turns[1]["content"]) == "a b"
        assert table.preview("y" * table.PREVIEW) == "y" * table.PREVIEW

    def test_a_page_of_no_rows_is_an_empty_table(self, results, columns):
        page = table.table_page(results.imported.folder, columns, np.zeros(0, np.int64))
        assert len(page) == 0 and "why" in page
