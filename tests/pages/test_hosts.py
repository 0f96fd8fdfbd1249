"""Which host names the app answers to, and where it listens however it is started."""

import subprocess
import sys

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from pages.parts import hosts
from staff_engine.program import app_folder


async def _hello(request):
    return PlainTextResponse("hello")


async def _talk(socket):
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(hosts.st, "get_option", {"server.address": "127.0.0.1"}.get)
    monkeypatch.delenv(hosts.VARIABLE, raising=False)
    routes = [Route("/", _hello), WebSocketRoute("/talk", _talk)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(hosts.KnownHosts)]))


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1", "[::1]:8501", "LOCALHOST", "localhost."])
def test_this_machine_is_answered(client, host):
    assert client.get("/", headers={"host": host}).text == "hello"
    with client.websocket_connect("/talk", headers={"host": host}) as socket:
        assert socket.receive_text() == "hello"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "", "[::2]"])
def test_a_foreign_name_is_refused(client, host):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 403 and "hello" not in answer.text
    assert "set STAFF_HOSTS=NAME" in answer.text
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/talk", headers={"host": host}):
        pass


def test_a_name_that_the_user_allows_is_answered(client, monkeypatch):
    monkeypatch.setenv(hosts.VARIABLE, "box.lan, staff.example")
    for host, code in (("box.lan:80", 200), ("staff.example", 200), ("localhost", 200), ("other.lan", 403)):
        assert client.get("/", headers={"host": host}).status_code == code


def test_where_the_app_was_told_to_listen_on_all_addresses_any_name_is_answered(client, monkeypatch):
    monkeypatch.setattr(hosts.st, "get_option", {"server.address": "0.0.0.0"}.get)
    assert client.get("/", headers={"host": "box.lan"}).status_code == 200
    monkeypatch.setenv(hosts.VARIABLE, "box.lan")
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403


STARTS = {
    "the command": "from staff_engine.cli.app import open_app; open_app(browser=False)",
    "streamlit run": "import sys; from streamlit.web.cli import main;"
    " main(['run', sys.argv[1] + '/app.py', '--server.headless=true'], standalone_mode=False)",
}


@pytest.mark.parametrize("way", STARTS)
def test_it_listens_on_this_machine_only_from_any_folder(way, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from streamlit import config; from streamlit.web import bootstrap;"
        "bootstrap.run = bootstrap.run_asgi_app ="
        " lambda *_, **__: print('address', config.get_option('server.address'));"
    )
    made = subprocess.run(
        [sys.executable, "-c", code + STARTS[way], str(app_folder())],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "address 127.0.0.1" in made.stdout, made.stdout + made.stderr
