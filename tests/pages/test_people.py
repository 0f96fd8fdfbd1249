"""A server for several people: everybody sees their own runs, and an admin those of all."""

import json

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from streamlit.web.server.starlette.starlette_websocket import get_cookie_secret

from pages.parts import people
from pages.parts.downloads import ROUTES, address
from staff_engine.errors import PlanError
from staff_engine.export.downloads import prepare, write_folder, write_out
from staff_engine.runs.control import list_runs
from staff_engine.system.home import homes, in_home
from staff_engine.system.sharing import UPLOADS
from tests.helpers.made_run import make_finished_run
from tests.helpers.seen import texts, unescaped

CLAIMS = {"is_logged_in": True, "iss": "https://id.example", "sub": "1", "email": "ada@example.com"}
PAGES = ("home", "data", "run", "scores", "select", "samples", "compare", "export", "family")
ADA, BOB = CLAIMS, {**CLAIMS, "sub": "2", "email": "bob@example.com"}


@pytest.fixture(autouse=True)
def shared(home, monkeypatch):
    monkeypatch.setenv("STAFF_SHARED", "1")
    monkeypatch.setenv(people.ADMINS, "root@example.com, subject-of-eve")
    monkeypatch.setattr(people.st, "login", lambda: None)
    return home


@pytest.fixture
def sign_in(monkeypatch):
    """Be somebody in the pages, with these claims."""

    def become(claims):
        monkeypatch.setattr(people, "current", lambda: people.person_of(claims))

    return become


@pytest.fixture
def runs(shared):
    """A finished run of Ada and one of Bob."""
    made = {}
    for name, claims in (("ada", ADA), ("bob", BOB)):
        own = people.person_of(claims).home
        (own / UPLOADS).mkdir(parents=True)
        with in_home(own):
            made[name] = make_finished_run(own / UPLOADS)
    return made


def test_a_person_is_their_subject_at_their_provider():
    ada = people.person_of(ADA)
    assert ada == people.person_of({**ADA, "extra": 1}) and not ada.admin and ada.shown == "ada@example.com"
    assert people.person_of({**ADA, "email": "new@example.com"}).name == ada.name
    others = {people.person_of({**ADA, **change}).name for change in ({"sub": "2"}, {"iss": "https://x"})}
    assert len(others | {ada.name}) == 3 and ada.name.isalnum()


@pytest.mark.parametrize(
    "claims",
    [
        {}, {**ADA, "is_logged_in": False}, {**ADA, "sub": ""}, {**ADA, "iss": None}, {"email": "a@b.c"},
        {**ADA, "is_logged_in": "true"},
    ],
)  # fmt: skip
def test_without_a_signed_identity_nobody_is_there(claims):
    assert people.person_of(claims) is None


def test_an_admin_is_listed_by_subject_or_by_a_verified_address():
    for change, admin in (
        ({"email": "root@example.com"}, False),
        ({"email": "root@example.com", "email_verified": False}, False),
        ({"email": "Root@example.com", "email_verified": True}, True),
        ({"sub": "subject-of-eve"}, True),
        ({"email": "", "email_verified": True}, False),
    ):
        assert people.person_of({**ADA, **change}).admin is admin, change


@pytest.mark.parametrize("name", PAGES)
def test_without_a_sign_in_no_page_shows_anything(open_page, runs, sign_in, name):
    sign_in({})
    app = open_page(name, run=runs["ada"].id)
    assert not app.exception
    assert "The sign-in is not configured" in texts(app)
    assert not app.selectbox and not app.metric and not app.sidebar.selectbox
    assert "made up" not in texts(app)


@pytest.mark.parametrize("name", ["scores", "select", "samples", "compare", "export", "run"])
def test_everybody_opens_their_own_run_and_no_other(open_page, runs, sign_in, name):
    sign_in(ADA)
    app = open_page(name, run=runs["ada"].id)
    assert not app.exception and app.session_state.run == runs["ada"].id
    app = open_page(name, run=runs["bob"].id)
    assert not app.exception and app.session_state.run is None
    assert "does not exist" in texts(app)
    assert runs["bob"].id not in str(app.sidebar.selectbox(key="run").options)


def test_home_lists_own_runs_and_deletes_only_them(open_page, runs, sign_in):
    sign_in(BOB)
    app = open_page("home")
    keys = [button.key for button in app.button if button.key]
    assert f"home_open_{runs['bob'].id}" in keys and not any(runs["ada"].id in key for key in keys)
    assert "bob@example.com" in " ".join(unescaped(each.value) for each in app.sidebar.caption)


def test_an_admin_chooses_whose_runs_are_shown(open_page, runs, sign_in):
    for claims in (ADA, BOB):
        sign_in(claims)
        open_page("home")  # which notes who they are
    sign_in({**CLAIMS, "sub": "subject-of-eve", "email": "eve@example.com"})
    app = open_page("home")
    assert "No runs yet" in texts(app)
    chosen = app.sidebar.selectbox(key=people.VIEWED)
    assert {"ada@example.com", "bob@example.com", "eve@example.com"} <= set(chosen.options)
    app = chosen.select(people.person_of(BOB).name).run()
    assert not app.exception
    assert f"home_open_{runs['bob'].id}" in [button.key for button in app.button]


def test_a_person_who_is_no_admin_cannot_choose_a_home(open_page, runs, sign_in):
    sign_in(BOB)
    app = open_page("home")
    app.session_state[people.VIEWED] = people.person_of(ADA).name
    app.run()
    assert not any(runs["ada"].id in str(button.key) for button in app.button)


def test_data_come_from_uploads_the_hub_and_built_in_ones(open_page, sign_in, tmp_path):
    path = tmp_path / "secret.jsonl"
    path.write_text('{"prompt": "secret", "response": "b"}\n', encoding="utf-8")
    sign_in(ADA)
    app = open_page("data")
    kinds = app.get("button_group")[0]
    assert kinds.options == ["Upload", "Built in", "Hugging Face Hub"]
    app = kinds.set_value("hub").run()
    for typed in (str(path), "s3://bucket/x.jsonl", f"file://{path}"):
        app = app.text_input(key="data_hub").set_value(typed).run()
        assert not app.exception
        assert "this shared server does not read" in texts(app), typed
        assert "secret" not in texts(app).replace("secret.jsonl", "")


def test_the_run_page_refuses_paths_of_models(open_page, sign_in, tmp_path):
    sign_in(ADA)
    app = open_page("run")
    app.session_state.new_plan = {
        "dataset": "builtin:docstrings", "small": str(tmp_path), "target": "builtin:llama-mini",
    }  # fmt: skip
    app.run()
    assert "this shared server does not read" in texts(app)
    with in_home(people.person_of(ADA).home):
        assert list_runs() == []


def test_exports_are_downloaded_and_never_written_to_a_path(open_page, runs, sign_in, tmp_path):
    sign_in(ADA)
    app = open_page("export", run=runs["ada"].id)
    assert not app.exception
    assert not any(each.label.startswith(("File on", "Folder on")) for each in app.text_input)
    assert "On this machine" not in [each.value for each in app.subheader]
    for write in (write_out, write_folder):
        with pytest.raises(PlanError, match="writes no files to paths"):
            write(runs["ada"], {}, tmp_path / "out.jsonl")


def cookie(claims):
    signed = create_signed_value(get_cookie_secret(), USER_COOKIE_NAME, json.dumps(claims))
    return {USER_COOKIE_NAME: signed.decode()}


def test_a_download_is_sent_to_its_owner_and_to_admins_only(runs):
    with in_home(people.person_of(ADA).home):
        prepared = prepare(runs["ada"], {})
    eve = {**CLAIMS, "sub": "subject-of-eve"}
    forged = {USER_COOKIE_NAME: json.dumps(ADA)}
    for part in ("coreset", "manifest", "zip"):
        for cookies, code in (
            (cookie(ADA), 200), (cookie(eve), 200), (cookie(BOB), 404), ({}, 404), (forged, 404),
            (cookie({**ADA, "is_logged_in": False}), 404), (cookie([1]), 404),
        ):  # fmt: skip
            client = TestClient(Starlette(routes=ROUTES), cookies=cookies)
            answer = client.get(address(prepared, part))
            assert answer.status_code == code, (part, cookies)
            assert code == 200 or runs["ada"].folder.name not in answer.text.replace(runs["ada"].id, "")


def test_the_home_of_a_person_is_closed_to_other_users_of_the_machine(open_page, sign_in):
    sign_in(ADA)
    open_page("home")
    (own,) = homes()[1:]
    assert own.stat().st_mode & 0o077 == 0 and own.parent.stat().st_mode & 0o077 == 0
