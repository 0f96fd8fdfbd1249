"""What must survive: a refresh, a restart of the app in the middle of a run, a link in another browser."""

import os
import re

import pytest
from playwright.sync_api import expect

from staff_engine.plan import Plan
from staff_engine.runs.control import create_run, read_status, start
from staff_engine.runs.status import load_status, save_status
from staff_engine.system.processes import start_time
from tests.helpers.driving import PATIENCE, expect_whole, go_to, open_page, running_app, settle
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def finished_run(home, tmp_path):
    return make_finished_run(tmp_path)


def select_link(run):
    return f"select?run={run.id}&strata=7&pruning_rate=0.75"


def test_a_link_shows_the_same_in_another_browser(chromium, page, app, finished_run):
    open_page(page, f"{app}/{select_link(finished_run)}")
    slider = page.get_by_role("slider", name=re.compile("Pruning rate"))
    slider.focus()
    slider.press("ArrowLeft")
    expect(page).to_have_url(re.compile(r"pruning_rate=0\.7[0-4]"), timeout=PATIENCE)
    settle(page)
    figures = page.get_by_test_id("stMetric").all_inner_texts()

    stranger = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
    open_page(stranger, page.url)
    expect(stranger.get_by_test_id("stMetric")).to_have_text(figures, use_inner_text=True, timeout=PATIENCE)
    stranger.context.close()


def test_a_deep_link_works_on_a_server_that_nobody_has_visited(page, app, finished_run):
    open_page(page, f"{app}/samples?run={finished_run.id}&row=3")
    opened = page.get_by_role("dialog").get_by_text("What is number 3 about weather?")
    expect(opened.first).to_be_visible(timeout=PATIENCE)


def test_settings_and_filter_go_along_from_page_to_page(page, app, finished_run):
    open_page(page, f"{app}/{select_link(finished_run)}&strata_in=2-3")
    for title in ("Samples", "Export", "Scores", "Select"):
        go_to(page, title)
        for part in (f"run={finished_run.id}", "strata=7", "pruning_rate=0.75", "strata_in=2-3"):
            expect(page).to_have_url(re.compile(re.escape(part)), timeout=PATIENCE)


@pytest.mark.parametrize("height", [0.2, 0.36, 0.47, 0.61], ids=["ratio", "verified", "samples", "rate"])
def test_strata_are_chosen_by_a_drag_anywhere_in_a_panel(page, app, finished_run, height):
    page.set_viewport_size({"width": 1440, "height": 1800})
    open_page(page, f"{app}/select?run={finished_run.id}")
    box = page.get_by_test_id("stPlotlyChart").bounding_box()
    y = box["y"] + height * box["height"]
    page.mouse.move(box["x"] + 0.4 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], y + 3, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile("strata_in="), timeout=PATIENCE)


def test_a_run_goes_on_over_a_refresh_and_a_restart_of_the_app(page, home):
    plan = Plan.make(
        dataset="builtin:docstrings",
        limit=200,
        small="builtin:llama-nano",
        target="builtin:llama-nano",
        epochs=1,
        strata=4,
        verify_per_stratum=2,
    )
    run = create_run(plan, name="survivor")
    with running_app(home) as app:
        start(run)
        open_page(page, f"{app}/run?run={run.id}")
        expect(page.get_by_text("survivor").first).to_be_visible(timeout=PATIENCE)
        page.reload()
        expect(page.get_by_text("survivor").first).to_be_visible(timeout=PATIENCE)
    assert read_status(run).state in ("queued", "running", "finished")
    with running_app(home) as app:
        open_page(page, f"{app}/run?run={run.id}")
        expect(page.get_by_text(re.compile("finished", re.I)).first).to_be_visible(timeout=4 * PATIENCE)
    assert read_status(run).state == "finished"


def test_a_page_that_waits_for_a_run_shows_its_scores_when_they_are_there(page, app, finished_run):
    status, summary = load_status(finished_run.folder), finished_run.folder / "summary.json"
    there = summary.read_text()
    summary.unlink()
    own = {"pid": os.getpid(), "pid_started": start_time(os.getpid())}
    save_status(finished_run.folder, status.model_copy(update={"state": "running", **own}))
    open_page(page, f"{app}/scores?run={finished_run.id}")
    expect(page.get_by_text("This run is running")).to_be_visible(timeout=PATIENCE)
    save_status(finished_run.folder, status)
    summary.write_text(there)
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible(timeout=PATIENCE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [800, 1440])
def test_every_page_is_whole_in_both_themes_and_widths(chromium, app, finished_run, scheme, width):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    broken = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    for name in ("", "data", "run", "scores", "select", "samples", "compare", "export"):
        open_page(page, f"{app}/{name}?run={finished_run.id}")
        expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=PATIENCE)
        expect_whole(page)
        dark = page.evaluate(
            "() => getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        )
        assert (dark == "rgb(17, 22, 29)") == (scheme == "dark")
    context.close()
    assert broken == []
