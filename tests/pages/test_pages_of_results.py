"""What every page of results says without a run, without scores, and with a filter that nothing passes."""

import pytest

from tests.helpers.seen import texts

STATES = ("queued", "running", "failed", "cancelled", "interrupted", "damaged", "finished")


@pytest.mark.parametrize("name", ["select", "compare", "scores", "samples", "export"])
def test_without_a_run_every_page_of_results_says_what_to_do(open_page, name):
    app = open_page(name)
    assert not app.exception
    assert "There are no runs yet" in texts(app)


@pytest.mark.parametrize("name", ["select", "compare"])
@pytest.mark.parametrize("state", STATES)
def test_a_run_without_scores_says_its_state_and_the_next_step(open_page, run_in_state, name, state):
    from pages.parts.state import NEXT_STEPS

    app = open_page(name, run=run_in_state(state).id)
    assert not app.exception
    assert f"This run is {state}" in texts(app)
    assert NEXT_STEPS[state] in texts(app)


def test_a_run_at_work_says_how_far_it_is_on_the_pages_of_results(open_page, run_in_state):
    app = open_page("scores", run=run_in_state("running").id)
    [bar] = app.get("progress")
    assert bar.proto.text == "Score all samples on the small model, 8.0 s left"
    assert bar.proto.value == 20


@pytest.mark.parametrize("name", ["scores", "select", "samples", "compare"])
def test_a_filter_that_nothing_passes_is_said_once_on_every_page(open_page, finished_run, name):
    app = open_page(name, run=finished_run.id, strata_in="999", pruning_rate="0.5")
    assert not app.exception
    assert [info.value for info in app.info] == [
        "No sample passes the filter. Remove part of the filter above."
    ]
