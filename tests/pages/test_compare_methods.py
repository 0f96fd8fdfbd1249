"""Methods on the Compare page: what is chosen, shown and kept in the link."""

import os

import numpy as np
import pytest

from staff_engine.runs import control
from staff_engine.runs.folders import read_record
from staff_engine.runs.results import open_results
from staff_engine.runs.score_tables import choose, small_scores
from staff_engine.runs.status import load_status, save_status
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.selection.methods import DEFAULT_METHODS, METHODS
from staff_engine.selection.overlap import jaccard_by_chance
from staff_engine.system.processes import start_time
from tests.helpers.damage import without
from tests.helpers.made_run import finish, write_trajectory
from tests.helpers.seen import unescaped

DEFAULT = list(DEFAULT_METHODS)


def texts(app):
    kinds = ("markdown", "caption", "info", "error", "warning")
    return " ".join(unescaped(element.value) for kind in kinds for element in app.get(kind))


def charts(app):
    return [chart.proto.id.rpartition("-")[2] for chart in app.get("plotly_chart")]


@pytest.fixture
def methods(open_page, finished_run):
    """Open the page at the methods, with more of a link."""

    def open_at(**query):
        app = open_page("compare", run=finished_run.id, compare_view="methods", **query)
        assert not app.exception
        return app

    return open_at


def test_the_page_opens_with_two_selections_and_goes_over_to_the_methods(open_page, finished_run):
    app = open_page("compare", run=finished_run.id)
    assert charts(app) == []
    app.segmented_control(key="compare_view").set_value("methods").run()
    assert not app.exception
    assert app.query_params["compare_view"] == "methods"
    assert len(charts(app)) == 4


def test_the_default_methods_are_compared_at_the_rate_of_the_link(methods, finished_run):
    app = methods(pruning_rate="0.5")
    assert app.pills(key="_compare_methods").value == DEFAULT
    results = open_results(finished_run.folder)
    table = small_scores(results)
    chosen = {name: set(choose(name, results, table, pruning_rate=0.5, seed=0).tolist()) for name in DEFAULT}
    shown = [chart.proto.alt for chart in app.get("plotly_chart")]
    expected = len(chosen["staff"] & chosen["d2"]) / len(chosen["staff"] | chosen["d2"])
    assert f"STAFF and D2 {expected:.2f}" in shown[0]
    assert "two random coresets of 196 of 393 samples" in texts(app)


def test_the_choice_of_methods_is_kept_in_the_link_and_comes_back(methods):
    app = methods()
    app.pills(key="_compare_methods").set_value(["grand", "staff"]).run()
    assert app.query_params["compare_methods"] == "staff,grand"
    [overlap, *_] = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert overlap.endswith(": STAFF and GraNd 0.00")
    assert methods(compare_methods="ccs,random").pills(key="_compare_methods").value == ["random", "ccs"]


def test_one_method_alone_has_nothing_in_common_with_another(methods):
    app = methods(compare_methods="d2")
    assert "Choose another method" in texts(app)
    assert len(charts(app)) == 3


def test_without_a_method_the_page_asks_for_one(methods):
    app = methods()
    app.pills(key="_compare_methods").set_value([]).run()
    assert "Choose at least one method." in texts(app)
    assert charts(app) == []


def test_a_method_that_a_link_invents_is_refused(methods):
    app = methods(compare_methods="staff,best")
    assert "compare_methods is 'staff,best'; allowed: staff, staff-paper" in texts(app)
    assert app.pills(key="_compare_methods").value == DEFAULT


def test_staff_and_the_cut_of_the_others_are_as_set_on_select(methods, finished_run):
    app = methods(compare_methods="staff,ccs,d2", drop_hardest="0.3", strata="20", pruning_rate="0.8")
    assert "CCS and D2 drop the hardest 30%" in texts(app)
    results = open_results(finished_run.folder)
    staff = set(results.select(drop_hardest=0.3, strata=20, pruning_rate=0.8).indices.tolist())
    table = small_scores(results)
    ccs = set(choose("ccs", results, table, pruning_rate=0.8, seed=0, beta=0.3).tolist())
    [overlap, *_] = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert f"STAFF and CCS {len(staff & ccs) / len(staff | ccs):.2f}" in overlap


def test_beta_and_k_of_the_baselines_can_be_set_here_and_are_kept_in_the_link(methods, finished_run):
    app = methods(compare_methods="ccs,random", pruning_rate="0.8")
    app.number_input(key="compare_beta").set_value(0.25).run()
    app.number_input(key="compare_strata").set_value(4).run()
    assert not app.exception
    assert (app.query_params["compare_beta"], app.query_params["compare_strata"]) == ("0.25", "4")
    assert "CCS and D2 drop the hardest 25%; CCS uses 4 strata" in texts(app)
    results = open_results(finished_run.folder)
    table, common = small_scores(results), {"pruning_rate": 0.8, "seed": 0}
    ccs = set(choose("ccs", results, table, beta=0.25, strata=4, **common).tolist())
    random = set(choose("random", results, table, **common).tolist())
    [overlap, *_] = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert f"Random and CCS {len(ccs & random) / len(ccs | random):.2f}" in overlap
    assert "--pruning-rate 0.8 --beta 0.25 --baseline-strata 4" in app.code[0].value
    again = methods(compare_methods="ccs", compare_beta="0.25", compare_strata="4")
    assert "drop the hardest 25%; CCS uses 4 strata" in texts(again)


def test_methods_without_settings_show_no_fields_for_them(methods):
    app = methods(compare_methods="staff,random")
    assert not {field.key for field in app.number_input} & {"compare_beta", "compare_strata"}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("compare_beta", "1.5", "0 or more and below 1"),
        ("compare_beta", "x", "0 or more"),
        ("compare_strata", "0", "1 to 10,000"),
    ],
)
def test_settings_that_a_link_invents_are_refused(methods, name, value, allowed):
    app = methods(compare_methods="ccs", **{name: value})
    assert f"The link's {name} is '{value}'; allowed: {allowed}" in texts(app)
    assert "drop the hardest 10%; CCS uses 50 strata" in texts(app)


def test_random_at_equal_tokens_follows_the_settings_of_select(methods, finished_run):
    app = methods(compare_methods="staff,random-tokens", pruning_rate="0.8", within="hardest")
    results = open_results(finished_run.folder)
    own = {"pruning_rate": 0.8, "seed": 0, "within": "hardest"}
    drawn = choose("random-tokens", results, small_scores(results), settings=own, pruning_rate=0.8, seed=0)
    staff = results.select(**own).indices
    shared = len(np.intersect1d(drawn, staff)) / len(np.union1d(drawn, staff))
    [overlap, *_] = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert f"STAFF and Random (equal tokens) {shared:.2f}" in overlap


def test_the_rate_turned_here_holds_on_every_page(methods):
    app = methods()
    app.number_input(key="pruning_rate").set_value(0.75).run()
    assert app.query_params["pruning_rate"] == "0.75"
    assert "75% removed, seed" in texts(app)
    assert "two random coresets of 98 of 393 samples" in texts(app)


def test_staff_with_other_settings_keeps_those_of_select_that_it_does_not_replace(methods, finished_run):
    app = methods(compare_methods="staff-paper,staff-unverified", pruning_rate="0.8", strata="20")
    results = open_results(finished_run.folder)
    studio = set(results.select(preset="paper", pruning_rate=0.8).indices.tolist())
    plain = set(results.select(ratio="equal", strata=20, pruning_rate=0.8).indices.tolist())
    [overlap, *_] = [chart.proto.alt for chart in app.get("plotly_chart")]
    shared = f"{len(studio & plain) / len(studio | plain):.2f}"
    assert overlap.endswith(f": STAFF (Paper) and STAFF without verification {shared}")
    missing = len(to_verify(results, preset="paper", pruning_rate=0.8))
    assert f"STAFF (Paper) is provisional: {missing} samples are not verified yet." in texts(app)
    assert "verification is provisional" not in texts(app)


def test_a_filter_leaves_the_samples_that_pass_it(methods):
    app = methods(pruning_rate="0.5", strata_in="2-4")
    assert "Only samples that pass the filter are counted." in texts(app)
    reached = next(
        chart.proto.alt
        for chart in app.get("plotly_chart")
        if chart.proto.alt.startswith("Share covered. strata: ")
    )
    assert "STAFF 100%" in reached


def test_with_a_filter_chance_is_that_among_the_samples_which_pass(methods, finished_run):
    app = methods(pruning_rate="0.5", strata_in="2-4")
    strata = open_results(finished_run.folder).select(pruning_rate=0.5).labels
    passing = int(((strata >= 2) & (strata <= 4)).sum())
    size = round(0.5 * passing)
    assert 0 < passing < 393
    said = f"By chance, two random coresets of {size} of {passing} samples"
    assert f"{said} overlap by {jaccard_by_chance(size, size, passing):.0%}." in texts(app)


def test_a_filter_that_no_chosen_sample_passes_says_so(methods):
    app = methods(compare_methods="grand", strata_in="0")
    assert "No sample of these coresets passes the filter" in texts(app)


def test_s2l_is_offered_once_its_losses_are_measured(methods, finished_run, monkeypatch):
    asked = []
    monkeypatch.setattr(control, "start", asked.append)
    app = methods()
    [button] = [button for button in app.button if button.key == "measure_trajectories"]
    button.click().run()
    assert not app.exception
    assert asked == [finished_run]
    assert read_record(finished_run).plan.checkpoints == 10
    write_trajectory(finished_run)
    finish(finished_run)
    app = methods(compare_methods="s2l,staff")
    assert app.pills(key="_compare_methods").value == ["staff", "s2l"]
    assert not [button for button in app.button if button.key == "measure_trajectories"]


def test_the_progress_of_the_measurement_is_shown(methods, finished_run):
    status = load_status(finished_run.folder)
    pid = {"pid": os.getpid(), "pid_started": start_time(os.getpid())}
    work = {"state": "running", "stage": "train again", "done": 3, "total": 9, "unit": "steps"}
    save_status(finished_run.folder, status.model_copy(update={**pid, **work}))
    app = methods()
    said = "The small model has been fine-tuned again for 3 of 9 steps."
    assert [bar.proto.text for bar in app.get("progress")] == [said]


def test_without_embeddings_the_methods_that_read_none_are_left(methods, finished_run):
    without(finished_run.folder, "embedding")
    app = methods()
    assert app.pills(key="_compare_methods").value == ["staff", "random", "grand", "el2n", "ccs"]
    assert "because this run has no embeddings: D2, Moderate, K-means and Facility location." in texts(app)
    assert f"trajectory {finished_run.id} --checkpoints 10): S2L." in texts(app)
    assert "this run has no losses at checkpoints (to measure them: " in unescaped(texts(app))
    assert "clusters" not in app.get("plotly_chart")[1].proto.alt


def test_d2_waits_to_be_asked_for_where_there_are_many_samples(methods, monkeypatch):
    from pages.parts import coverage

    monkeypatch.setattr(coverage, "D2_AT_ONCE", 100)
    app = methods()
    assert app.pills(key="_compare_methods").value == [name for name in DEFAULT if name != "d2"]


def test_the_page_says_what_each_method_does_and_the_command_that_does_the_same(methods, finished_run):
    app = methods(compare_methods="staff,d2")
    for method in METHODS.values():
        assert f"**{method.label}**. {method.sentence}" in texts(app)
    command = f"staff_engine compare {finished_run.id} --method staff --method d2 --pruning-rate 0.9"
    assert command in app.code[0].value


def test_what_is_shown_does_not_change_what_is_remembered(methods):
    first = methods(pruning_rate="0.5")
    filtered = methods(pruning_rate="0.5", strata_in="2-4")
    again = methods(pruning_rate="0.5")
    alts = [[chart.proto.alt for chart in app.get("plotly_chart")] for app in (first, filtered, again)]
    assert alts[0] == alts[2] != alts[1]
    assert np.all([len(each) == 4 for each in alts])
