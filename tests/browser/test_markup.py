"""What comes from a link, a file, a model or a person is shown letter by letter, and loads nothing."""

import json
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect

from pages.parts import links
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.saved_selections import save_selection
from staff_engine.runs.status import StageStatus, Status, save_status
from staff_engine.samples.filters import QUERY_NAMES
from staff_engine.similarity_plan import SimilarityPlan
from tests.helpers import made_run
from tests.helpers.driving import PATIENCE, go_to, open_page, settle
from tests.helpers.made_run import make_finished_run
from tests.helpers.made_similarity import make_finished_similarity

HOST = "markup.invalid"
PICTURE, LINK = f"![x](http://{HOST}/p.png)", f"[li](http://{HOST}/l)"
PIECES = (
    PICTURE, f"<img src=http://{HOST}/i.png>", "$x^2$", ":red[re]", LINK, "**bo**", "`co`", f"www.{HOST}",
    f"a@{HOST}", ":material/home:", "<b>bo</b>",
)  # fmt: skip
MARKUP = " ".join(PIECES)
SHORT = f"{PICTURE} $x$ :red[re] **bo** <b>bo</b>"
"""Short enough for every name."""

RAISED = (
    f"img[src*='{HOST}'], a[href*='{HOST}'], .katex, .katex-error, strong:text-is('bo'), b:text-is('bo'),"
    " code:text-is('co'), .stMarkdownColoredText:text-is('re')"
)
"""Elements that the markup would make."""

PAGES = ("", "data", "run", "scores", "select", "samples", "compare", "export", "family")


@pytest.fixture
def watched(page: Page):
    """A page that keeps which requests go to the host of the markup."""
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url) if _is_foreign(request.url) else None)
    return page


def _is_foreign(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith(HOST)


def expect_literal(page: Page, where: str) -> None:
    """Expect that no markup became an element, and that nothing was asked of its host."""
    page.wait_for_timeout(300)
    found = page.locator(RAISED)
    assert found.evaluate_all("all => all.map(each => each.outerHTML)") == [], where
    assert page.asked == [], where


def rows_of_markup(folder):
    path = folder / f"{SHORT.replace('/', '_')}.jsonl"
    rows = [{MARKUP: f"question {row} {MARKUP}", f"{SHORT} b": MARKUP * (row > 1)} for row in range(20)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def run(home, tmp_path):
    """A finished run whose names, warnings and texts are all markup."""
    run = make_finished_run(tmp_path, rows=60)
    control.rename(run, SHORT)
    save_selection(run.folder, SHORT[:60], {"strata": 3})
    path = run.folder / "summary.json"
    summary = json.loads(path.read_text())
    summary["trust"] |= {"word": "low", "sentence": MARKUP, "advice": [MARKUP]}
    path.write_text(json.dumps({**summary, "warnings": [MARKUP]}))
    run.log.write_text(MARKUP)
    return run


@pytest.mark.parametrize("name", PAGES)
def test_a_link_of_markup(app, watched, run, name):
    everything = dict.fromkeys((*links.SETTINGS, *links.PAGE_KEYS, *QUERY_NAMES), MARKUP)
    for query in ({"run": MARKUP}, {**everything, "run": run.id}, {"run": run.id, "text": MARKUP}):
        open_page(watched, f"{app}/{name}?{urlencode(query)}")
        expect_literal(watched, f"{name} {list(query)}")


def test_runs_of_markup(app, watched, run, home):
    plan = Plan.make(dataset=f"/{SHORT}", small=f"/{SHORT} small", target=f"/{SHORT} target", split=SHORT)
    failed = control.create_run(plan, name=f"{SHORT} 2")
    stage = StageStatus(name="import", unit=SHORT)
    save_status(failed.folder, Status(state="failed", message=MARKUP, stage="import", stages=(stage,)))
    damaged = control.create_run(plan)
    content = json.loads((damaged.folder / "plan.json").read_text())
    content["plan"] = {**content["plan"], MARKUP: 1}
    (damaged.folder / "plan.json").write_text(json.dumps(content))
    models = {"smalls": (plan.small, plan.small + "2"), "targets": (plan.target,)}
    waiting = control.create_run(plan, similarity=SimilarityPlan.make(**models))
    save_status(waiting.folder, Status(state="failed", message=MARKUP))
    for name in PAGES:
        for each in (failed, damaged):
            open_page(watched, f"{app}/{name}?run={each.id}")
            expect_literal(watched, f"{name} {each.id}")
    open_page(watched, f"{app}/family?family={waiting.id}")
    expect_literal(watched, "family")
    open_page(watched, f"{app}/run?run={failed.id}")
    watched.get_by_role("button", name="Plan again").click()
    settle(watched)
    expect_literal(watched, "plan again")


def test_data_of_markup(app, watched, home, tmp_path):
    path = rows_of_markup(tmp_path)
    open_page(watched, f"{app}/data")
    box = watched.get_by_test_id("stTextInputField").first
    box.fill(f"/no/{MARKUP}")
    box.press("Enter")
    settle(watched)
    expect_literal(watched, "a path that does not exist")
    box.fill(str(path))
    box.press("Enter")
    settle(watched)
    expect_literal(watched, "columns to choose")
    for label, place in (("Prompt column", 0), ("Response column", 1)):
        watched.get_by_role("combobox", name=label).click()
        watched.get_by_role("option").nth(place).click()
        settle(watched)
        expect_literal(watched, label)
    expect(watched.get_by_text("Check of every row")).to_be_visible(timeout=PATIENCE)
    for tab in watched.get_by_role("tab").all():
        tab.click()
        settle(watched)
        expect_literal(watched, tab.inner_text())
    watched.get_by_role("button", name="Use this data").click()
    settle(watched)
    expect_literal(watched, "a plan on this data")


def test_samples_of_markup(app, watched, home, tmp_path, monkeypatch):
    monkeypatch.setattr(made_run, "TOPICS", [MARKUP])
    run = make_finished_run(tmp_path, rows=60)
    open_page(watched, f"{app}/samples?run={run.id}&row=3")
    expect_literal(watched, "a sample")
    for title in ("Compare", "Export", "Select"):
        open_page(watched, f"{app}/select?run={run.id}")
        go_to(watched, title)
        expect_literal(watched, title)


def test_models_of_markup(app, watched, home):
    similarity = make_finished_similarity(
        smalls=(f"{MARKUP} a", f"{MARKUP} b"), targets=(f"{MARKUP} c", f"{MARKUP} d")
    )
    open_page(watched, f"{app}/family?family={similarity.id}")
    expect_literal(watched, "family")
