"""Starting the app and the command line: options, the settings of Streamlit, the command that is shown."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

import staff_engine
from staff_engine import program
from staff_engine.cli import main as cli
from tests.helpers.driving import free_port
from tests.helpers.made_cli import assert_wrong_input

ROOT = Path(__file__).parent.parent

# The command that is shown


@pytest.fixture
def place_command(tmp_path, monkeypatch):
    """Put `staff-studio` on PATH, from the scripts folder of this Python or another; give site-packages."""

    def place(*, ours=True):
        scripts, site = tmp_path / "bin", tmp_path / "site"
        site.mkdir()
        found = (scripts if ours else tmp_path / "elsewhere") / program.SCRIPT
        found.parent.mkdir()
        found.touch(0o755)
        paths = {"scripts": str(scripts), "purelib": str(site)}
        monkeypatch.setattr(sysconfig, "get_paths", lambda scheme: paths)
        monkeypatch.setenv("PATH", str(found.parent))
        return site

    return place


def test_an_installed_package_is_called_by_its_command(place_command):
    (place_command() / "staff_engine").symlink_to(ROOT / "staff_engine")
    assert program.find_command() == "staff-studio"


def test_so_is_a_checkout_that_was_installed_to_be_edited(place_command):
    place_command()
    assert program.find_command() == "staff-studio"


def test_a_checkout_is_called_by_its_module(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.find_command() == "python -m staff_engine"


def test_the_command_of_another_python_is_not_ours(place_command):
    place_command(ours=False)
    assert program.find_command() == "python -m staff_engine"


def test_nor_is_the_command_of_another_copy(place_command):
    (place_command() / "staff_engine").mkdir()
    assert program.find_command() == "python -m staff_engine"


def test_a_link_to_the_command_is_followed(place_command, tmp_path, monkeypatch):
    place_command()
    links = tmp_path / "links"
    links.mkdir()
    (links / program.SCRIPT).symlink_to(shutil.which(program.SCRIPT))
    monkeypatch.setenv("PATH", str(links))
    assert program.find_command() == "staff-studio"


# Options


@pytest.fixture
def opened(monkeypatch):
    """What the app was opened with; it is not started."""
    calls = []
    monkeypatch.setattr("staff_engine.cli.app.open_app", lambda **options: calls.append(options))
    return calls


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], {"port": None, "browser": True}),
        (["--port", "8600", "--no-browser"], {"port": 8600, "browser": False}),
    ],
)
def test_the_command_alone_opens_the_app(opened, monkeypatch, words, expected):
    monkeypatch.setattr(sys, "argv", ["staff-studio", *words])
    assert cli.studio() == 0
    assert opened == [expected]


def test_with_a_command_it_is_the_command_line(opened, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["staff-studio", "list"])
    assert cli.studio() == 0
    assert "no runs in" in capsys.readouterr().out
    assert opened == []


def test_the_version_is_shown(opened, capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"STAFF Studio {staff_engine.__version__}\n"
    assert opened == []


def test_the_apps_options_are_refused_with_a_command(opened, capsys):
    assert_wrong_input(["--port", "8600", "list"], "--port and --no-browser are for the app", capsys)


def test_a_port_that_cannot_be_is_refused(opened, capsys):
    assert_wrong_input(["--port", "70000"], "--port", capsys)


# The settings of Streamlit


START = {
    "streamlit run": "from streamlit.web.cli import main; main(['run', app], standalone_mode=False)",
    "staff-studio": "from staff_engine.cli.main import main; assert main(['--no-browser']) == 0",
    "uvicorn": "import importlib; importlib.import_module('app'); show()",
}

PROGRAM = """
import json, sys
app = sys.argv[1]
sys.path.insert(0, app.rpartition("/")[0])
from streamlit import config
from streamlit.web import bootstrap

def show(*_):
    print(json.dumps({name: config.get_option(name) for name in sys.argv[2:]}))

bootstrap.run_asgi_app = show
"""

OURS = {
    "server.address": "127.0.0.1",
    "server.showEmailPrompt": False,
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "theme.baseRadius": "0.5rem",
}


@pytest.mark.parametrize("start", START)
def test_the_settings_hold_however_and_wherever_the_app_is_started(start, tmp_path):
    others = tmp_path / ".streamlit"
    others.mkdir()
    (others / "config.toml").write_text(
        '[server]\naddress = "0.0.0.0"\nshowEmailPrompt = true\n[browser]\ngatherUsageStats = true\n'
        '[client]\nshowErrorDetails = "full"\n[theme]\nbaseRadius = "none"\n'
    )
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM + START[start], str(ROOT / "app.py"), *OURS],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert json.loads(shown.stdout.splitlines()[-1]) == OURS


def test_the_app_is_served_to_this_machine_only_and_asks_nothing(tmp_path):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-c", "from staff_engine.cli.main import studio; studio()", f"--port={port}"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "BROWSER": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        page = wait_for(f"http://127.0.0.1:{port}/", server)
        assert "<title>" in page
        sockets = [each for each in psutil.Process(server.pid).net_connections() if each.status == "LISTEN"]
        assert {each.laddr.ip for each in sockets} == {"127.0.0.1"}
    finally:
        server.send_signal(signal.SIGTERM)
        said, _ = server.communicate(timeout=20)
    assert "mail" not in said and "statistics" not in said


def wait_for(address, server, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urlopen(address, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{address} is not served")
