"""Which names the app answers to: a page of a foreign site must not read it through a name of its own.

A site can point a name at 127.0.0.1 and so reach a server on this machine from the visitor's browser (DNS
rebinding). The browser then sends that name as the host, which is refused here.
"""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING

import streamlit as st

from staff_engine.program import NAME

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

VARIABLE = "STAFF_HOSTS"
"""Environment variable: further host names, separated by commas."""

OWN = {"localhost", "127.0.0.1", "::1"}


def allowed_hosts() -> set[str] | None:
    """The names that the app answers to; None for all.

    They are this machine's own and those in `STAFF_HOSTS`. All are allowed if the app is set to listen on
    other addresses than this machine's own, and `STAFF_HOSTS` is not set.
    """
    named = {name.strip().lower() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()}
    address = st.get_option("server.address")
    if not named and not (address and _is_own(address)):
        return None
    return OWN | named


def _is_own(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def host_of(header: str) -> str:
    """The name in a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].rstrip(".").lower()


class KnownHosts:
    """ASGI middleware that refuses requests for other hosts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        allowed = allowed_hosts()
        if scope["type"] not in ("http", "websocket") or allowed is None:
            await self.app(scope, receive, send)
            return
        headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(headers) == 1 and host_of(headers[0]) in allowed:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            from starlette.responses import PlainTextResponse

            names = ", ".join(sorted(allowed))
            refusal = f"{NAME} answers only to {names}. To allow another name, set {VARIABLE}=NAME."
            await PlainTextResponse(refusal, status_code=403)(scope, receive, send)
