"""What a link brings back, and what it is refused."""

import pytest

from staff_engine.runs.results import open_results
from staff_engine.samples.filters import Filter
from tests.helpers.seen import unescaped


def query_of(app):
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


def warnings_of(app):
    return [unescaped(warning.value) for warning in app.warning]


def test_a_link_brings_back_run_settings_filter_and_the_pages_own_choices(open_page, finished_run):
    asked = {
        "run": finished_run.id,
        "strata": "20",
        "pruning_rate": "0.75",
        "strata_in": "1-3",
        "samples_view": "map",
    }
    app = open_page("samples", **asked)
    assert not app.exception
    assert app.session_state.run == finished_run.id
    assert app.session_state.strata == 20
    assert app.session_state.pruning_rate == 0.75
    assert app.session_state.filter == Filter(strata=(1, 2, 3))
    assert query_of(app) == asked
    assert warnings_of(app) == []


def test_what_equals_the_runs_plan_is_left_out_of_the_link(open_page, finished_run):
    app = open_page("select", run=finished_run.id, strata="10")
    assert open_results(finished_run.folder).plan.strata == 10
    assert query_of(app) == {"run": finished_run.id}


def test_a_setting_out_of_range_is_refused_with_its_value_and_the_plans_is_shown(open_page, finished_run):
    app = open_page("select", run=finished_run.id, strata="99999")
    assert not app.exception
    [said] = warnings_of(app)
    assert "99999" in said
    assert "10000" in said
    assert app.session_state.strata == 10
    assert query_of(app) == {"run": finished_run.id}


@pytest.mark.parametrize(
    ("name", "asked"),
    [("pruning_rate", 0.99995), ("drop_hardest", 0.995), ("verify_per_stratum", 20_000), ("strata", 10_000)],
)
def test_what_a_plan_allows_a_widget_holds(open_page, finished_run, name, asked):
    app = open_page("select", run=finished_run.id, **{name: asked})
    app.session_state.select_more = True
    app.run().run()
    assert not app.exception
    assert app.session_state[name] == asked
    assert app.number_input(key=name).max is None or app.number_input(key=name).max >= asked
    assert query_of(app)[name] == str(asked)


def test_a_run_that_is_gone_is_said_and_the_page_stays_whole(open_page, finished_run):
    app = open_page("scores", run="20200101-000000-gone-0000")
    assert not app.exception
    assert any("20200101-000000-gone-0000" in said for said in warnings_of(app))


def test_a_link_cannot_name_a_folder(open_page, finished_run):
    app = open_page("scores", run=str(finished_run.folder))
    assert not app.exception
    assert app.session_state.run is None


def test_a_filter_that_says_nonsense_is_left_out(open_page, finished_run):
    app = open_page("samples", run=finished_run.id, score_in="high")
    assert app.session_state.filter == Filter()
    assert any("score_in is 'high'" in said for said in warnings_of(app))


def test_another_run_brings_its_own_settings_and_no_filter(open_page, finished_run, tmp_path):
    from tests.helpers.made_run import make_finished_run

    (tmp_path / "other").mkdir()
    other = make_finished_run(tmp_path / "other", 100, strata=4)
    app = open_page("select", run=finished_run.id, strata="20", strata_in="1")
    [label] = [option for option in app.selectbox(key="run").options if other.id[-4:] in option]
    app.selectbox(key="run").set_value(label).run()
    assert app.session_state.strata == 4
    assert app.session_state.filter == Filter()
    assert query_of(app) == {"run": other.id}


@pytest.mark.parametrize(
    ("page", "name", "asked", "said"),
    [
        ("samples", "row", "-1", "It is ignored."),
        ("samples", "samples_sort", "size", "allowed: row_id, kept"),
        ("export", "export_selection", "gone", "The current selection is used"),
    ],
)
def test_a_choice_that_a_page_does_not_have_is_refused(open_page, finished_run, page, name, asked, said):
    app = open_page(page, run=finished_run.id, **{name: asked})
    assert not app.exception
    [refusal] = [warning.replace("\\", "") for warning in warnings_of(app)]
    assert repr(asked) in refusal
    assert said in refusal
    assert name not in query_of(app)
