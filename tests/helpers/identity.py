"""A stand-in for an OpenID Connect provider: it signs in whom the test says, without asking."""

import base64
import hashlib
import json
import secrets
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "staff-studio"


class Provider:
    """The provider; `claims` are those of whoever signs in next, `address` is its issuer."""

    def __init__(self) -> None:
        self.claims = {}
        self.address = ""
        self._key = RSAKey.generate_key(2048, parameters={"kid": "of the test"})
        self._codes = {}

    def discovery(self) -> dict:
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return {
            "issuer": self.address,
            **{name: f"{self.address}/{path}" for name, path in ends.items()},
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def keys(self) -> dict:
        return {"keys": [self._key.as_dict(private=False, use="sig", alg="RS256")]}

    def authorize(self, query: dict[str, str]) -> str:
        """The address to which the browser is sent back, with a code."""
        code = secrets.token_urlsafe()
        self._codes[code] = (query, dict(self.claims))
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str]) -> dict:
        """The signed identity for a code, once, if the code's secret is right (PKCE)."""
        query, claims = self._codes.pop(form["code"])
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == query["code_challenge"]
        now = int(time.time())
        identity = {"iss": self.address, "aud": CLIENT, "iat": now, "exp": now + 600, **claims}
        identity |= {"nonce": query["nonce"]} if "nonce" in query else {}
        signed = jwt.encode({"alg": "RS256", "kid": "of the test"}, identity, self._key)
        return {"access_token": "-", "token_type": "Bearer", "expires_in": 600, "id_token": signed}


@contextmanager
def running_provider():
    """Run a provider on this machine."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.end_headers()
                return
            pages = {"/.well-known/openid-configuration": provider.discovery, "/jwks": provider.keys}
            self._answer(pages[parts.path]())

        def do_POST(self):
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(provider.token({name: values[0] for name, values in parse_qs(sent).items()}))

        def _answer(self, content):
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def secrets_for(provider: Provider, app: str) -> str:
    """The text of the app's secrets.toml."""
    return f"""
[auth]
redirect_uri = "{app}/oauth2callback"
cookie_secret = "{secrets.token_hex(32)}"
client_id = "{CLIENT}"
client_secret = "secret"
server_metadata_url = "{provider.address}/.well-known/openid-configuration"
"""
