"""What the other pages, the sidebar and the list of runs make of a run that compares models."""

import pytest

from staff_engine.runs import control
from tests.helpers.made_similarity import alive, make_finished_similarity, make_similarity
from tests.helpers.seen import query_of, texts


@pytest.mark.parametrize("name", ["run", "scores", "select", "samples", "compare", "export"])
def test_another_page_says_politely_that_a_run_compares_models(open_page, similarity, name):
    app = open_page(name, run=similarity.id)
    assert not app.exception
    assert "This run compares models. It has no coreset to show here." in texts(app)
    app.button(key="open_family").click().run()
    assert not app.exception
    assert app.title[0].value == "Family"
    assert query_of(app) == {"family": similarity.id}


def test_the_picker_in_the_sidebar_and_latest_know_only_runs_that_select(open_page, finished_run, home):
    make_finished_similarity()
    app = open_page("scores", run="latest")
    assert not app.exception
    assert app.session_state.run == finished_run.id
    assert app.sidebar.selectbox(key="run").options == ["made up"]


def test_home_lists_a_similarity_run_with_what_it_compares_and_opens_it(open_page, similarity):
    app = open_page("home")
    assert not app.exception
    said = texts(app)
    assert "docstrings · compares near, far for target on 80 samples · just now" in said
    from pages.parts.run.listing import _actions

    assert _actions(control.describe(similarity)) == ["rename", "delete"]
    app.button(key=f"home_open_{similarity.id}").click().run()
    assert not app.exception
    assert app.title[0].value == "Family"
    assert app.session_state.family == similarity.id
    assert app.session_state.run is None


def test_home_says_how_far_a_similarity_run_at_work_is(open_page, home):
    make_similarity(state="running", **alive())
    [bar] = open_page("home").get("progress")
    assert bar.proto.text == "Score near, untouched, 6.0 s left"


def test_names_and_kinds_are_read_once_until_a_plan_is_written_anew(home, similarity, monkeypatch):
    from pages.parts.run import names

    read = []
    real = names.read_record
    monkeypatch.setattr(names, "read_record", lambda run: read.append(run.id) or real(run))
    for _ in range(3):
        assert names.run_names(("similarity",)) == {similarity.id: "alike"}
        assert names.run_names(("coreset", None)) == {}
    assert read == [similarity.id]
    control.rename(similarity, "named anew")
    assert names.run_names(("similarity",)) == {similarity.id: "named anew"}
