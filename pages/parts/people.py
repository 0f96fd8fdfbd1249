"""Who uses a server for several people (`STAFF_SHARED=1`): sign-in, and the home that belongs to each person.

Every person has a home of their own, `<STAFF_HOME>/users/<name>`, in which all their runs, uploads and
background jobs are. The engine asks for it through `choose_home_by`, so that a page, a callback and a
fragment can reach no other home.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.parts.words import plain
from staff_engine.errors import StaffError
from staff_engine.program import NAME
from staff_engine.system.files import private_folder, read_checked, write_checked
from staff_engine.system.home import choose_home_by, homes, user_home
from staff_engine.system.sharing import is_shared

if TYPE_CHECKING:
    from starlette.requests import Request

ADMINS = "STAFF_ADMINS"
"""Environment variable: verified e-mail addresses or subjects (`sub`) of admins, separated by commas."""

PERSON_FILE = "person.json"
VIEWED = "people_viewed"
"""Session key of an admin: the name of the home that is shown."""


@dataclass(frozen=True)
class Person:
    """Somebody who has signed in.

    Attributes
    ----------
    name
        The name of their home: a hash of the provider and of the subject, which never change.
    shown
        Their e-mail address or name, for display.
    admin
        Whether they may see the homes of all.
    """

    name: str
    shown: str
    admin: bool

    @property
    def home(self) -> Path:
        """The folder with their data."""
        return user_home(self.name)


def person_of(claims: Mapping[str, Any]) -> Person | None:
    """The person whom a signed identity describes; None without a sign-in."""
    issuer, subject = claims.get("iss"), claims.get("sub")
    if claims.get("is_logged_in") is not True or not issuer or not subject:
        return None
    email = claims.get("email") if claims.get("email_verified") is True else None
    admins = {name.strip().lower() for name in os.environ.get(ADMINS, "").split(",") if name.strip()}
    return Person(
        name=hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest()[:32],
        shown=str(claims.get("email") or claims.get("name") or subject),
        admin=bool(admins & {str(each).lower() for each in (email, subject) if each}),
    )


def current() -> Person | None:
    """The person of this session; None if nobody has signed in."""
    return person_of(st.user.to_dict())


def of_request(request: Request) -> Person | None:
    """The person who sends a request to the server, by Streamlit's signed cookie."""
    from streamlit.web.server.starlette import starlette_websocket as streamlit_cookies
    from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

    try:
        signed = streamlit_cookies._get_signed_cookie_with_chunks(dict(request.cookies), USER_COOKIE_NAME)
        claims = json.loads(signed) if signed else {}
    except ValueError:
        return None
    return person_of(claims) if isinstance(claims, dict) else None


def homes_for(person: Person) -> list[Path]:
    """The homes that somebody may read: their own; for an admin, those of all."""
    return homes() if person.admin else [person.home]


def sign_in() -> None:
    """On a server for several people, ask for a sign-in and stop; else show who has signed in."""
    try:
        shared = is_shared()
    except StaffError as error:
        st.error(plain(str(error)))
        st.stop()
    if not shared:
        return
    person = current()
    if person is None:
        st.title(NAME, anchor=False)
        st.markdown("This server is for several people. Sign in to see your runs.")
        if "is_logged_in" in st.user.to_dict():
            st.button("Sign in", type="primary", icon=":material/login:", on_click=st.login)
        else:
            st.error("The sign-in is not configured: .streamlit/secrets.toml has no section [auth].")
        st.stop()
    _remember(person)
    if person.admin:
        _choose_home(person)
    with st.sidebar:
        st.caption(f":material/person: {plain(person.shown)}{' (admin)' if person.admin else ''}")
        st.button("Sign out", on_click=st.logout, type="tertiary", icon=":material/logout:", key="sign_out")


def _remember(person: Person) -> None:
    """Make somebody's home, with their address or name for admins."""
    path = person.home / PERSON_FILE
    if not path.exists():
        private_folder(person.home.parent)
        private_folder(person.home)
        write_checked(path, {"shown": person.shown})


def _choose_home(person: Person) -> None:
    names = {each.name: _shown(each) for each in homes()[1:]}
    st.session_state.setdefault(VIEWED, person.name)
    st.sidebar.selectbox(
        "Runs of",
        list(names),
        key=VIEWED,
        format_func=lambda name: names.get(name, name),
        persist_state="session",
        on_change=_forget_run,
    )


def _forget_run() -> None:
    st.session_state.run = None


def _shown(folder: Path) -> str:
    try:
        return str(read_checked(folder / PERSON_FILE)["shown"])
    except (StaffError, KeyError, TypeError):
        return folder.name


def _home_of_session() -> Path | None:
    """The home of whoever this script runs for; None outside of sessions, and if the server is not shared.

    Raises
    ------
    StaffError
        If nobody has signed in: then there is no home.
    """
    if not is_shared() or get_script_run_ctx(suppress_warning=True) is None:
        return None
    person = current()
    if person is None:
        raise StaffError("nobody has signed in")
    viewed = st.session_state.get(VIEWED)
    if person.admin and viewed and user_home(viewed) in homes():
        return user_home(viewed)
    return person.home


choose_home_by(_home_of_session)
