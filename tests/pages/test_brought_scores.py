"""Every page for a run whose scores are from a file: what is there, and what is not."""

import pytest

from tests.helpers.brought_scores import ROWS, WITHOUT, make_scores_run


@pytest.fixture
def brought(home, tmp_path):
    return make_scores_run(tmp_path)[0]


def said(app):
    parts = [*app.caption, *app.info, *app.warning, *app.text]
    return " ".join(each.value for each in parts)


@pytest.mark.parametrize("page", ["run", "scores", "select", "samples", "compare", "export"])
def test_every_page_shows_the_run_and_says_that_it_has_no_small_model(brought, open_page, page):
    app = open_page(page, run=brought.id)
    assert not app.exception
    assert not app.error
    assert "no small model" in said(app)


@pytest.mark.parametrize("view", ["selections", "methods", "evaluation"])
def test_every_comparison_shows_what_can_be_compared(brought, open_page, view):
    app = open_page("compare", run=brought.id, compare_view=view)
    assert not app.exception
    assert not app.error


def test_a_sample_is_shown_with_its_score_and_without_what_a_model_measures(brought, open_page):
    app = open_page("samples", run=brought.id, row=5)
    assert not app.exception and not app.error
    app = open_page("samples", run=brought.id, row=WITHOUT[0])
    assert not app.exception and not app.error
    assert "no value of own:perplexity" in said(app)


def test_the_coreset_can_be_exported(brought, open_page, tmp_path):
    app = open_page("export", run=brought.id)
    assert f"{(ROWS - len(WITHOUT)) // 2} of {ROWS}" in app.metric[0].value
    app.text_input(key="export_out_jsonl").set_value(str(tmp_path / "mine.jsonl"))
    next(each for each in app.button if each.label == "Write the files").click().run()
    assert not app.exception and not app.error
    assert len((tmp_path / "mine.jsonl").read_text().splitlines()) == (ROWS - len(WITHOUT)) // 2


def test_the_other_score_of_the_file_can_rank_the_samples(brought, open_page):
    app = open_page("select", run=brought.id, score="own:quality")
    assert not app.exception and not app.error
    assert app.session_state["score"] == "own:quality"
