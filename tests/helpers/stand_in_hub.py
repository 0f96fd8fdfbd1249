"""A hub on this machine: repositories with commits, behind the addresses that its client asks."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse


class StandInHub:
    """Repositories, each with its commits; `main` is the newest.

    Attributes
    ----------
    commits
        Name, with "datasets/" before that of a data set → commit → file → content, the newest last.
    asked
        The revision and file of every request for a file.
    """

    def __init__(self):
        self.commits = {}
        self.asked = []
        self.address = ""

    def push(self, name, folder):
        """Add the files of a folder as the newest commit, and return it."""
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        content = b"".join(key.encode() + value for key, value in files.items())
        commit = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self.commits.setdefault(name, {}).pop(commit, None)
        self.commits[name][commit] = files
        return commit

    def environment(self, home):
        """The variables of a process that uses this hub, with a cache of its own."""
        return {"HF_ENDPOINT": self.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}

    def find(self, name, revision):
        """The commit of a revision, and its files; None if there is none."""
        commits = self.commits.get(name, {})
        commit = next(reversed(commits), None) if revision == "main" else revision
        return (commit, commits[commit]) if commit in commits else None


@contextmanager
def stand_in_hub():
    """Serve a stand-in hub inside the block."""
    hub = StandInHub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandInHub

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def do_POST(self):
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}").get("paths", [])
        self._answer(wanted)

    def _answer(self, wanted=None):
        path = unquote(urlparse(self.path).path).strip("/")
        if not path:
            self._send(200, b"")
        elif path.startswith("api/"):
            self._describe(path.removeprefix("api/").removeprefix("models/"), wanted)
        else:
            name, _, rest = path.partition("/resolve/")
            revision, _, file = rest.partition("/")
            self.hub.asked.append((revision, file))
            self._file(name, revision, file)

    def _file(self, name, revision, file):
        found = self.hub.find(name, revision)
        if found is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return
        commit, files = found
        if file not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        mark = hashlib.sha1(files[file], usedforsecurity=False).hexdigest()
        self._send(200, files[file], {"X-Repo-Commit": commit, "ETag": f'"{mark}"'})

    def _describe(self, path, wanted):
        """The facts of a repository, or a list of its files."""
        name, revision, asks = path, "main", ""
        for part in ("revision", "tree", "paths-info"):
            if f"/{part}/" in path:
                name, _, revision = path.partition(f"/{part}/")
                asks = part
        found = self.hub.find(name, revision.partition("/")[0])
        if found is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        commit, files = found
        listed = [
            {"type": "file", "path": file, "size": len(content), "oid": commit}
            for file, content in files.items()
            if wanted is None or file in wanted
        ]
        facts = {
            "id": name.removeprefix("datasets/"), "sha": commit, "private": False, "gated": False,
            "disabled": False, "tags": [], "downloads": 0, "likes": 0,
            "siblings": [{"rfilename": file} for file in files],
        }  # fmt: skip
        answer = listed if asks in ("tree", "paths-info") else facts
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send(self, code, content, headers=None):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format, *arguments):
        """Say nothing."""
