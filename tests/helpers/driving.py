"""The app in a real browser: a server of its own, headless Chromium, waiting until a page stands still."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, expect, sync_playwright

PROJECT = Path(__file__).parent.parent.parent
START_SECONDS = 60
STILL = '[data-testid="stApp"][data-test-script-state="notRunning"]'
PATIENCE = 60_000  # ms; a busy machine is slow


def find_chromium() -> str | None:
    """Where Chromium is, as Debian and others name it."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_app(home: Path, *, port: int | None = None) -> Iterator[str]:
    """Run the app as the README does, on a home of its own; gives its address."""
    port = port or free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py"]
    options = ["--server.headless=true", f"--server.port={port}"]
    environment = {**os.environ, "STAFF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    log = home.with_name(f"{home.name}-app.log")
    with log.open("ab") as output:
        server = subprocess.Popen(
            [*command, *options], cwd=PROJECT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(server, address, log)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(server: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urlopen(f"{address}/_stcore/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the app did not start:\n{log.read_text()[-2000:]}")


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def open_page(page: Page, address: str) -> None:
    """Go to an address and wait until its page stands still."""
    page.goto(address)
    settle(page)


def settle(page: Page) -> None:
    """Wait until no script runs, nothing of the page is stale and every figure is drawn."""
    page.wait_for_selector(STILL, timeout=PATIENCE)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=PATIENCE)
    expect(page.locator('[data-stale="true"]')).to_have_count(0, timeout=PATIENCE)
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=stPlotlyChart]')]"
        ".every(chart => chart.querySelector('.main-svg') || chart.querySelector('canvas'))",
        timeout=PATIENCE,
    )


def go_to(page: Page, title: str) -> None:
    """Choose a page in the sidebar, and wait until it is that page, by its title, that stands still."""
    page.get_by_test_id("stSidebarNavLink").filter(has_text=re.compile(rf"{title}$")).click()
    expect(page.get_by_role("heading", level=1, name=title, exact=True)).to_be_visible(timeout=PATIENCE)
    settle(page)


def expect_whole(page: Page) -> None:
    """Expect a page that shows no error and is no wider than its window."""
    for broken in ("stException", "stAlertContentError"):
        expect(page.get_by_test_id(broken)).to_have_count(0)
    expect(page.get_by_text("Unexpected error on this page")).to_have_count(0)
    over = page.evaluate(
        "() => { const main = document.querySelector('[data-testid=stMain]');"
        " return main.scrollWidth - main.clientWidth; }"
    )
    assert over <= 1, f"{page.url} is {over} px wider than the window"
