"""Select: the figures, the settings, and what still has to be verified."""

import os

import pytest

from staff_engine.runs.composition import response_lengths
from staff_engine.runs.cost import price, run_cost, token_share
from staff_engine.runs.results import open_results
from staff_engine.runs.saved_selections import list_saved
from staff_engine.runs.status import Status, load_status, save_status
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.system.processes import start_time
from staff_engine.system.words import duration
from tests.helpers.made_run import finish, make_finished_run, write_alone
from tests.helpers.seen import figures, texts


def test_the_figures_are_those_of_the_plans_selection(open_page, finished_run):
    app = open_page("select", run=finished_run.id)
    assert not app.exception
    selection = open_results(finished_run.folder).select()
    said = figures(app)
    assert said["Samples"] == "393"
    assert said["Coreset"] == f"{len(selection.indices)}"
    assert said["Strata served"] == f"{(selection.budget > 0).sum()} of 10"
    assert said["Verified"] == "50"
    assert "Provisional" not in texts(app)


def test_the_kinds_of_rows_are_shown_where_the_data_says_them(open_page, finished_run, tmp_path):
    assert "Kinds of rows" not in texts(open_page("select", run=finished_run.id))
    (tmp_path / "faulty").mkdir()
    run = make_finished_run(tmp_path / "faulty", kinds=True)
    results = open_results(run.folder)
    swapped = (results.select().indices % 4 == 0).mean()
    said = texts(open_page("select", run=run.id)).replace("\\", "")
    assert f"swapped {swapped:.0%} (in the data 25%)" in said


def test_the_page_leads_on_to_the_samples_and_the_export(open_page, finished_run):
    app = open_page("select", run=finished_run.id)
    assert [link.proto.label for link in app.get("page_link")] == ["View the samples", "Export this coreset"]


def test_the_slider_and_the_number_turn_the_same_setting(open_page, finished_run):
    app = open_page("select", run=finished_run.id)
    app.slider(key="_slider_pruning_rate").set_value(0.5).run()
    assert app.number_input(key="pruning_rate").value == 0.5
    assert figures(app)["Coreset"] == "196"  # Python rounds 196.5 to the even number
    app.number_input(key="pruning_rate").set_value(0.995).run()
    assert app.slider(key="_slider_pruning_rate").value == 0.99
    assert figures(app)["Coreset"] == "2"


def test_more_strata_than_the_slider_has_can_be_typed(open_page, finished_run):
    app = open_page("select", run=finished_run.id)
    app.number_input(key="strata").set_value(5000).run()
    assert not app.exception
    assert app.slider(key="_slider_strata").value == 200
    assert "of 5,000" in figures(app)["Strata served"]


@pytest.mark.parametrize(
    ("name", "value"), [("strata_by", "quantile"), ("allocation", "normalized"), ("within", "hardest")]
)
def test_the_folded_choices_change_the_coreset(open_page, finished_run, name, value):
    results = open_results(finished_run.folder)
    app = open_page("select", run=finished_run.id, **{name: value})
    assert not app.exception
    assert app.session_state[name] == value
    assert figures(app)["Coreset"] == str(len(results.select(**{name: value}).indices))


def test_strata_that_still_need_the_target_make_the_coreset_provisional(open_page, finished_run, monkeypatch):
    from staff_engine.runs import control

    app = open_page("select", run=finished_run.id, strata="20")
    missing = len(to_verify(open_results(finished_run.folder), strata=20))
    [button] = [button for button in app.button if button.key == "verify_more"]
    assert f"Verify {missing} more" in button.label
    assert "Provisional" in texts(app)

    asked = {}

    def start(run, *, verify):
        asked.update(verify)
        status = load_status(run.folder)
        pid = {"pid": os.getpid(), "pid_started": start_time(os.getpid())}
        at_work = {"state": "running", "stage": "verify", "done": 3, "total": missing, "verify": verify}
        save_status(run.folder, status.model_copy(update={**pid, **at_work}))

    monkeypatch.setattr(control, "start", start)
    button.click().run()
    assert not app.exception
    assert asked["strata"] == 20
    assert [bar.proto.text for bar in app.get("progress")] == [
        f"The target has verified 3 of {missing} samples."
    ]


def test_ifd_is_offered_as_a_score_once_it_is_computed(open_page, finished_run, monkeypatch):
    from staff_engine.runs import control

    asked = {}
    monkeypatch.setattr(control, "start", lambda run, *, verify: asked.update(verify))
    app = open_page("select", run=finished_run.id)
    app.session_state.select_more = True
    app.run()
    [scores] = [group for group in app.get("button_group") if group.proto.id.endswith("-score")]
    assert "IFD" not in [option.content for option in scores.proto.options]
    app.button(key="compute_ifd").click().run()
    assert not app.exception
    assert asked["score"] == "ifd" and asked["strata"] == 10

    write_alone(finished_run)
    finish(finished_run)
    app = open_page("select", run=finished_run.id, score="ifd")
    app.session_state.select_more = True
    app.run()
    assert not app.exception
    [scores] = [group for group in app.get("button_group") if group.proto.id.endswith("-score")]
    assert "IFD" in [option.content for option in scores.proto.options]
    assert not [button for button in app.button if button.key == "compute_ifd"]
    expected = open_results(finished_run.folder).select(score="ifd")
    assert figures(app)["Coreset"] == str(len(expected.indices))


def test_a_link_to_a_score_that_the_run_lacks_says_how_to_compute_it(open_page, finished_run):
    app = open_page("select", run=finished_run.id, score="ifd")
    assert not app.exception
    assert f"verify {finished_run.id} --score ifd" in texts(app)


def test_a_verification_that_broke_off_is_said_and_can_be_asked_for_again(open_page, finished_run):
    status = load_status(finished_run.folder)
    broken = {"state": "failed", "message": "the disk is full", "verify": {"strata": 20}}
    save_status(finished_run.folder, Status(**{**status.model_dump(), **broken}))
    app = open_page("select", run=finished_run.id, strata="20")
    assert "The last verification is failed. the disk is full" in texts(app)
    assert [button for button in app.button if button.key == "verify_more"]


def test_a_selection_is_kept_loaded_and_forgotten(open_page, finished_run):
    app = open_page("select", run=finished_run.id, pruning_rate="0.8")
    assert app.text_input[0].placeholder == "80% removed, 10 strata"
    app.text_input[0].set_value("eight tenths")
    app.form_submit_button[0].click().run()
    [kept] = list_saved(finished_run.folder)
    assert "80% removed, K 10 by width" in texts(app)
    assert (kept.name, kept.settings["pruning_rate"]) == ("eight tenths", 0.8)
    app.number_input(key="pruning_rate").set_value(0.5).run()
    [changed] = [metric for metric in app.metric if metric.label == "Coreset"]
    assert "since last saved" in changed.delta
    app.button(key=f"saved_load_{kept.id}").click().run()
    assert app.session_state.pruning_rate == 0.8
    app.button(key=f"saved_forget_{kept.id}").click().run()
    assert list_saved(finished_run.folder) == []


def test_the_response_lengths_of_the_coreset_stand_beside_those_of_the_data(open_page, finished_run):
    app = open_page("select", run=finished_run.id)
    results = open_results(finished_run.folder)
    lengths = response_lengths(results, results.select().indices)
    [metric] = [each for each in app.metric if each.label == "Response tokens"]
    assert metric.value == f"{lengths.token_share:.0%}"
    assert metric.delta == f"median {lengths.coreset_median:,.0f}, data {lengths.data_median:,.0f}"


def test_near_duplicates_that_are_left_out_are_counted_with_the_samples(open_page, finished_run):
    expected = open_results(finished_run.folder).select(near_duplicates=0.5, drop_by="loss")
    assert len(expected.duplicates)
    app = open_page("select", run=finished_run.id, near_duplicates="0.5", drop_by="loss")
    assert not app.exception
    [samples] = [metric for metric in app.metric if metric.label == "Samples"]
    assert samples.value == "393"
    assert samples.delta == f"{len(expected.duplicates)} near duplicates"
    assert figures(app)["Coreset"] == str(len(expected.indices))


def test_the_price_of_the_selection_is_said_with_that_of_a_random_one(open_page, finished_run):
    app = open_page("select", run=finished_run.id)
    results = open_results(finished_run.folder)
    share = token_share(results, results.select().indices)
    expected = price(run_cost(results.summary, results.timings), share)
    assert f"Selection took {duration(expected.selection)}." in texts(app)
    assert f"the selection {expected.pays}. A random coreset" in texts(app)


def test_scores_from_a_file_can_be_added_and_chosen(open_page, finished_run):
    app = open_page("select", run=finished_run.id)
    app.session_state.select_more = True
    app.run()
    lines = "".join(f"{row},{(row * 7) % 50}\n" for row in range(400))
    app.file_uploader[0].upload("scores.csv", f"row_id,taste\n{lines}".encode(), "text/csv")
    [add] = [button for button in app.get("button") if button.label == "Add"]
    add.click().run()
    assert not app.exception
    results = open_results(finished_run.folder)
    assert "own:taste" in results.score_names
    app = open_page("select", run=finished_run.id, score="own:taste")
    app.session_state.select_more = True
    app.run()
    assert not app.exception
    assert figures(app)["Coreset"] == str(len(results.select(score="own:taste").indices))
    [scores] = [group for group in app.get("button_group") if group.proto.id.endswith("-score")]
    assert "Taste" in [option.content for option in scores.proto.options]


def test_rounds_of_verification_are_offered_where_the_allocation_allows_them(
    open_page, finished_run, monkeypatch
):
    from staff_engine.runs import control

    asked = {}
    monkeypatch.setattr(control, "start", lambda run, *, verify: asked.update(verify))
    app = open_page("select", run=finished_run.id, strata="20", adaptive="yes", allocation="proportional")
    missing = len(
        to_verify(open_results(finished_run.folder), strata=20, adaptive=True, allocation="proportional")
    )
    [button] = [button for button in app.button if button.key == "verify_more"]
    assert button.label.startswith(f"Verify in rounds, {missing} first")
    button.click().run()
    assert not app.exception
    assert asked["adaptive"] is True and asked["allocation"] == "proportional"
    app = open_page("select", run=finished_run.id, strata="20", adaptive="yes")
    app.session_state.select_more = True
    app.run()
    assert app.toggle(key="adaptive").disabled
    [button] = [button for button in app.button if button.key == "verify_more"]
    assert button.label.startswith("Verify ") and "rounds" not in button.label
