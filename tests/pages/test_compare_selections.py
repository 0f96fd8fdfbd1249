"""Compare: two selections of a run."""

from staff_engine.runs.results import open_results
from staff_engine.runs.saved_selections import save_selection
from tests.helpers.seen import figures, texts


def test_compare_goes_to_the_two_selections(open_page, finished_run):
    results = open_results(finished_run.folder)
    kept = save_selection(finished_run.folder, "half *of* it", results.settings(pruning_rate=0.5))
    app = open_page("select", run=finished_run.id)
    app.button(key=f"saved_compare_{kept.id}").click().run()
    assert not app.exception
    assert app.title[0].value == "Compare"
    assert (app.session_state.compare_a, app.session_state.compare_b) == (kept.id, "current")
    a, b = results.select(pruning_rate=0.5), results.select()
    assert figures(app)["In both"] == str(len(set(a.indices) & set(b.indices)))


def test_compare_says_which_settings_differ_and_shares_in_per_cent(open_page, finished_run):
    app = open_page("compare", run=finished_run.id, pruning_rate="0.805", drop_hardest="0.2", strata="7")
    assert not app.exception
    [differing] = app.table
    assert differing.value.iloc[:, 0].to_dict() == {
        "pruning rate": "80.5% → 90%",
        "strata": "7 → 10",
        "drop hardest": "20% → 10%",
    }


def test_equal_selections_say_so(open_page, finished_run):
    app = open_page("compare", run=finished_run.id)
    assert not app.exception
    assert "Both selections give the same coreset" in texts(app)


def test_a_selection_that_a_link_invents_is_refused(open_page, finished_run):
    app = open_page("compare", run=finished_run.id, compare_a="gone", pruning_rate="0.8")
    assert not app.exception
    assert "There is no selection 'gone' in this run." in texts(app)
    assert app.session_state.compare_a == "current"


def test_compare_obeys_the_filter(open_page, finished_run):
    asked = {"run": finished_run.id, "pruning_rate": "0.5", "strata_in": "2-4"}
    app = open_page("compare", **asked)
    assert not app.exception
    assert "only samples that pass the filter" in texts(app)
    for frame in app.dataframe:
        assert set(frame.value["stratum"]) <= {2, 3, 4}
