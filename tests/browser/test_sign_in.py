"""A server for several people, in a real browser: sign in at a stand-in provider, work, sign out."""

import re

import pytest
from playwright.sync_api import expect

from pages.parts.people import person_of
from staff_engine.runs.control import list_runs, read_status
from staff_engine.system.home import in_home
from tests.helpers.driving import PATIENCE, expect_whole, free_port, open_page, running_app, settle
from tests.helpers.fake_worker import kill_leftovers, wait_for
from tests.helpers.identity import running_provider, secrets_for
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def provider():
    with running_provider() as running:
        yield running


@pytest.fixture
def app(home, provider, tmp_path, monkeypatch):
    """The address of a shared server that trusts the provider."""
    port = free_port()
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(secrets_for(provider, f"http://127.0.0.1:{port}"), encoding="utf-8")
    monkeypatch.setenv("STREAMLIT_SECRETS_FILES", str(secrets))
    monkeypatch.setenv("STAFF_SHARED", "1")
    with running_app(home, port=port) as address:
        yield address


def signed_in(chromium, provider, app, subject):
    """A browser in which somebody has signed in."""
    page = chromium.new_context().new_page()
    open_page(page, app)
    expect(page.get_by_text("Sign in to see your runs")).to_be_visible(timeout=PATIENCE)
    provider.claims = {"sub": subject, "email": f"{subject}@example.com", "email_verified": True}
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(re.compile(rf"{subject}@.?example\.com"))).to_be_visible(timeout=PATIENCE)
    settle(page)
    return page


def home_of(provider, subject):
    return person_of({"is_logged_in": True, "iss": provider.address, "sub": subject}).home


def test_two_people_work_and_neither_sees_the_other(chromium, provider, app):
    ada = signed_in(chromium, provider, app, "ada")
    with in_home(home_of(provider, "ada")):
        source = home_of(provider, "ada") / "uploads"
        source.mkdir()
        run = make_finished_run(source)
    open_page(ada, f"{app}/export?run={run.id}")
    expect_whole(ada)
    ada.get_by_role("button", name="Prepare download").click()
    link = ada.get_by_role("link", name="Download coreset")
    expect(link).to_be_visible(timeout=PATIENCE)
    download = link.get_attribute("href")
    assert ada.request.get(f"{app}{download}").status == 200

    bob = signed_in(chromium, provider, app, "bob")
    expect(bob.get_by_text("No runs yet")).to_be_visible(timeout=PATIENCE)
    open_page(bob, f"{app}/select?run={run.id}")
    expect(bob.get_by_text("does not exist")).to_be_visible(timeout=PATIENCE)
    assert "made up" not in bob.inner_text("body")
    nobody = chromium.new_context().new_page()
    for other in (bob, nobody):
        answer = other.request.get(f"{app}{download}")
        assert answer.status == 404 and "score" not in answer.text()

    open_page(ada, f"{app}/select?run={run.id}")
    ada.get_by_role("slider", name="Strata (K)").press("ArrowRight")  # a fragment runs without the page
    settle(ada)
    expect_whole(ada)
    ada.get_by_role("button", name="Sign out").click()
    expect(ada.get_by_text("Sign in to see your runs")).to_be_visible(timeout=PATIENCE)
    assert ada.request.get(f"{app}{download}").status == 404


def test_a_run_of_a_person_works_to_its_end_in_their_home(chromium, provider, app):
    page = signed_in(chromium, provider, app, "ada")
    own = home_of(provider, "ada")
    try:
        page.get_by_role("button", name="Try the demo").click()
        with in_home(own):
            wait_for(list_runs)
            (run,) = list_runs()
            assert run.folder.parent == own / "runs"
            wait_for(lambda: read_status(run).state in ("finished", "failed"), patience=300)
            assert read_status(run).state == "finished", read_status(run).message
    finally:
        kill_leftovers(own)


def test_a_cookie_that_the_server_did_not_sign_opens_nothing(chromium, provider, app, home):
    context = chromium.new_context()
    context.add_cookies([{"name": "_streamlit_user", "value": '{"is_logged_in": true}', "url": app}])
    page = context.new_page()
    open_page(page, app)
    expect(page.get_by_text("Sign in to see your runs")).to_be_visible(timeout=PATIENCE)
    assert not (home / "users").exists()
