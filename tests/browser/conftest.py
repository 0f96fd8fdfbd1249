import os

import pytest

from tests.helpers.driving import browser, find_chromium, running_app

REQUIRED = os.environ.get("STAFF_BROWSER_TESTS") == "required"
"""Set by CI, where a missing browser is a failure."""


def pytest_collection_modifyitems(items):
    here = [item for item in items if "tests/browser" in item.nodeid]
    for item in here:
        item.add_marker(pytest.mark.long)
        if find_chromium() is None and not REQUIRED:
            item.add_marker(pytest.mark.skip(reason="no Chromium here: browser tests are left out"))


@pytest.fixture(scope="session")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture
def page(chromium):
    """A page in a browser of nobody's: no cookies, 1440 by 900."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    try:
        yield context.new_page()
    finally:
        context.close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty STAFF_HOME, for the app and for what a test itself makes."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("STAFF_HOME", str(folder))
    return folder


@pytest.fixture
def app(home):
    """The app's address."""
    with running_app(home) as address:
        yield address
