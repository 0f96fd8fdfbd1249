"""What a person sees on Compare beside two selections: other methods, and the target after fine-tuning."""

import re

import pytest
from playwright.sync_api import TimeoutError, expect

from staff_engine.runs import control
from tests.helpers.driving import PATIENCE, expect_whole, open_page, running_app, settle
from tests.helpers.made_evaluation import make_evaluation, write_held_out
from tests.helpers.made_run import make_finished_run


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """Compare, of a run with a finished evaluation, beside another run on the same data."""
    folder = tmp_path_factory.mktemp("compare")
    home = folder / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAFF_HOME", str(home))
        source, tuned = make_finished_run(folder), make_finished_run(folder, seed=1)
        control.rename(tuned, "tuned")
        make_evaluation(source, write_held_out(folder / "held_out.jsonl"))
        with running_app(home) as address:
            yield f"{address}/compare?run={source.id}"


@pytest.fixture(params=[1440, 800])
def narrow_or_wide(page, request):
    """The page at a width; tall enough that nothing has to be scrolled to."""
    page.set_viewport_size({"width": request.param, "height": 2800})
    return page


def choose_view(page, link, name):
    open_page(page, link)
    page.get_by_role("radio", name=name).click()
    expect(page).to_have_url(re.compile("compare_view="), timeout=PATIENCE)
    settle(page)


def expect_rows(figure, names):
    """Expect a figure with a row for each name."""
    rows = figure.locator(".ytick text")
    expect(rows).to_have_count(len(names), timeout=PATIENCE)
    assert sorted(rows.all_text_contents()) == sorted(names)


def column(page, place):
    """The cells of a column of the page's table, counted from 1; the table is drawn, and said in words."""
    table = page.get_by_test_id("stDataFrame")
    expect(table.locator("canvas").first).to_be_visible(timeout=PATIENCE)
    return table.locator(f"td[aria-colindex='{place}']")


def choose_option(page, label, name):
    """Choose from a list; it closes again where the page still moves under it, and is then opened anew."""
    option = page.get_by_role("option", name=name)
    for _ in range(10):
        page.get_by_role("combobox", name=label).click()
        try:
            return option.click(timeout=5_000)
        except TimeoutError:
            continue
    raise AssertionError(f"the list {label!r} does not stay open")


def test_staffs_coreset_is_shown_beside_those_of_the_methods_that_are_chosen(narrow_or_wide, link):
    page = narrow_or_wide
    choose_view(page, link, "STAFF and other methods")
    figures = page.get_by_test_id("stPlotlyChart")
    expect(figures).to_have_count(4, timeout=PATIENCE)
    names = ["STAFF", "Random", "GraNd", "EL2N", "CCS", "D2", "Moderate"]
    for figure in figures.all()[:2]:
        expect_rows(figure, names)
    for figure in figures.all()[2:]:
        expect_rows(figure, ["All samples", *names])
    page.get_by_test_id("stButtonGroup").get_by_text("EL2N", exact=True).click()
    names.remove("EL2N")
    expect(page).to_have_url(re.compile("compare_methods="), timeout=PATIENCE)
    settle(page)
    for figure in figures.all()[:2]:
        expect_rows(figure, names)
    expect_whole(page)


def test_what_an_evaluation_found_is_seen_and_what_another_takes_is_said(narrow_or_wide, link):
    page = narrow_or_wide
    choose_view(page, link, "After fine-tuning")
    expect(page.get_by_text("STAFF is better than random by held-out loss")).to_be_visible(timeout=PATIENCE)
    figures = page.get_by_test_id("stPlotlyChart")
    expect(figures).to_have_count(2, timeout=PATIENCE)
    for figure in figures.all():
        expect_rows(figure, ["STAFF", "Random"])
    arms = ["nothing (target untouched)", "full data", "STAFF", "Random"]
    expect(column(page, 2)).to_have_text(arms, timeout=PATIENCE)

    page.get_by_text("Add to this evaluation, or start a new one").click()
    command = page.get_by_test_id("stCode")
    expect(command).to_contain_text("--evaluate", timeout=PATIENCE)
    expect(page.get_by_text("All cells already exist")).to_be_visible(timeout=PATIENCE)
    settle(page)
    choose_option(page, "Also the coresets of", "tuned")
    expect(page.get_by_text(re.compile("2 cells to compute, about"))).to_be_visible(timeout=PATIENCE)
    expect(command).to_contain_text("--also 'STAFF, tuned=")
    settle(page)
    expect_whole(page)
