"""What a person does who has never seen the app, in a real browser."""

import json
import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import expect

from tests.helpers.driving import PATIENCE, go_to, open_page, settle

RUN_SECONDS = 240  # the demo takes under a minute on two free cores


def finish_demo(page, app):
    """From an empty home to the demo's results."""
    open_page(page, app)
    page.get_by_role("button", name="Try the demo").click()
    expect(page.get_by_text("finished").first).to_be_visible(timeout=RUN_SECONDS * 1000)
    settle(page)


def test_from_an_empty_home_to_a_downloaded_coreset(page, app, home):
    finish_demo(page, app)
    [run] = (home / "runs").iterdir()
    rows = (run / "dataset" / "source.jsonl").read_bytes().splitlines()

    go_to(page, "Scores")
    expect(page.get_by_test_id("stPlotlyChart").nth(1)).to_be_visible(timeout=PATIENCE)

    go_to(page, "Select")
    for name in ("Strata", "Pruning rate"):
        slider = page.get_by_role("slider", name=re.compile(name)).first
        before = slider.get_attribute("aria-valuenow")
        slider.focus()
        slider.press("ArrowLeft")
        expect(slider).not_to_have_attribute("aria-valuenow", before, timeout=PATIENCE)
        settle(page)
    expect(page).to_have_url(re.compile(r"pruning_rate="), timeout=PATIENCE)

    go_to(page, "Samples")
    table = page.get_by_test_id("stDataFrame").first
    expect(table).to_be_visible(timeout=PATIENCE)
    table.click(position={"x": 500, "y": 120})  # a cell of the third row
    opened = page.get_by_role("dialog")
    expect(opened.get_by_text("Row 2", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(opened.get_by_text("Rank of its scores")).to_be_visible(timeout=PATIENCE)
    page.keyboard.press("Escape")
    expect(opened).to_have_count(0, timeout=PATIENCE)

    go_to(page, "Export")
    page.get_by_role("button", name="Prepare").click()
    with page.expect_download(timeout=PATIENCE) as waiting:
        page.get_by_role("link", name=re.compile("Download")).first.click()
    lines = waiting.value.path().read_bytes().splitlines()
    pruning_rate = float(parse_qs(urlsplit(page.url).query)["pruning_rate"][0])
    plan = json.loads((run / "plan.json").read_text())["plan"]
    assert pruning_rate == round(plan["pruning_rate"] - 0.01, 2)
    assert len(lines) == round((1 - pruning_rate) * len(rows))
    assert set(lines) <= set(rows)
